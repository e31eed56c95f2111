"""`monitor snapshot`: the panels of a dashboard from what Prometheus holds, drawn without Grafana."""

import re
import time
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from millisight.console import require

NAMES = ("overview", "latency-promise", "search-training", "slo")
FOLDER = Path("deploy/grafana/dashboards")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def snapshot(
    output: Annotated[Path, typer.Option("-o", "--output", help="the PNG")],
    dashboard: Annotated[str, typer.Option(help=f"one of {', '.join(NAMES)}, or a dashboard's JSON")] = "overview",
    prometheus: Annotated[str, typer.Option(help="address of Prometheus")] = "http://127.0.0.1:9090",
    since: Annotated[str, typer.Option(help="how much of the time before now: 90s, 15m, 6h, 2d")] = "15m",
    until: Annotated[float | None, typer.Option(help="Unix time at which it ends, seconds; default: now")] = None,
    variable: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE,VALUE of the dashboard's variables; default: all, or the first")
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="only what is under this heading; again for another one")
    ] = None,
    width: Annotated[int, typer.Option(min=300, max=4000, help="of the page, pixels")] = 900,
    sharpness: Annotated[float, typer.Option(min=1, max=4, help="pixels of the file for one of the page")] = 2.0,
    scrape_interval: Annotated[str, typer.Option(help="between two scrapes, as Grafana's data source is told")] = "15s",
) -> None:
    """Draw a dashboard's panels to a PNG."""
    require("matplotlib", "monitor")
    require("httpx", "monitor")
    from monitoring.panels import read_dashboard
    from monitoring.prometheus import PrometheusClient
    from monitoring.snapshot import Shown, draw_sheet, place
    from monitoring.variables import Window, choose

    board = read_dashboard(FOLDER / f"{dashboard}.json" if dashboard in NAMES else Path(dashboard))
    end = time.time() if until is None else until
    scrape_s = _seconds(scrape_interval, "--scrape-interval")
    window = Window(end - _seconds(since, "--since"), end, scrape_s=scrape_s)
    with PrometheusClient(prometheus) as client:
        chosen = choose(board.variables, _wishes(variable or []), window, client.label_values)
        panels = sum(len(group) for group in place(board, chosen, row or ()).values())
        shown = Shown(client, chosen, window)
        with tqdm(total=panels, unit="panel") as bar:

            def told(title: str) -> None:
                bar.set_description_str(title[:40], refresh=False)
                bar.update()

            empty = draw_sheet(board, shown, output, rows=row or (), width=width, sharpness=sharpness, told=told)
    nothing = f", {empty} with nothing to show" if empty else ""
    typer.echo(f"{output}  ({board.title}: {panels} panels{nothing}, {output.stat().st_size / 1000:.0f} kB)")


def _seconds(text: str, option: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r}: give a number and s, m, h or d, such as 15m", param_hint=option)
    return float(match[1]) * _SECONDS[match[2]]


def _wishes(given: list[str]) -> dict[str, list[str]]:
    wishes: dict[str, list[str]] = {}
    for wish in given:
        name, equals, values = wish.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{wish!r}: give NAME=VALUE or NAME=VALUE,VALUE", param_hint="--variable")
        wishes.setdefault(name, []).extend(value for value in values.split(",") if value)
    return wishes
