"""`latency measure`, `show`, `check` and `report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millisight.console import print_json, print_table, require, usage
from runtime import MillisightError, Target
from runtime.target import PLAIN

if TYPE_CHECKING:
    from search.latency.table import LatencyTable

app = typer.Typer(help="Latency tables: measured milliseconds of every operation at every shape.", no_args_is_help=True)

TablePath = Annotated[Path, typer.Argument(help="a table's JSON file")]
AsJson = Annotated[bool, typer.Option("--json", help="for machines")]


class TableDoesNotHoldError(MillisightError):
    """A table says something else than this machine, or than its own timings."""


@app.command()
def measure(
    out: Annotated[Path, typer.Option(help="the table's JSON file; what is new is added to one that is there")],
    target: Annotated[str, typer.Option(help="see `millisight targets`")] = PLAIN,
    task: Annotated[str, typer.Option(help="derain, denoise or super-resolution")] = "denoise",
    scale: Annotated[int | None, typer.Option(help="2 or 4, for super-resolution")] = None,
    method: Annotated[str, typer.Option(help="its space is measured; see `millisight methods`")] = "autoderain",
    preset: Annotated[str, typer.Option(help="sizes of the space; see `millisight methods`")] = "default",
    sizes: Annotated[
        str, typer.Option(help="input sizes, WIDTHxHEIGHT, comma-separated; three or more predict any other size")
    ] = "192x192,320x320,512x512",
    seed: Annotated[int, typer.Option(min=0, help="random networks, and order of turns")] = 0,
    anew: Annotated[bool, typer.Option("--anew", help="take nothing from a table that is there")] = False,
) -> None:
    """Measure a table on this machine. Interrupted, the same command goes on; repeated, it adds what is new."""
    require("torch", "search,cpu")
    from search import RunConfig, parse_size
    from search.config import Plan
    from search.latency.measure import RULES, measure_table
    from search.pipeline import code_version

    where = usage(lambda: Target.parse(target), "--target")
    pixels = [usage(lambda text=text: parse_size(text), "--sizes") for text in sizes.split(",")]  # type: ignore[misc]
    if task == "super-resolution" and scale is None:
        scale = 2
    config = RunConfig(task=task, scale=scale, method=method, target=where.slug, preset=preset)
    plan = usage(lambda: Plan(config), "--task/--scale/--method/--preset")
    rules = RULES.within(plan.preset.measure_seconds)
    table = measure_table(
        plan.space, plan.space_config, where, pixels, out,
        seed=seed, rules=rules, code_version=code_version(), anew=anew,
    )  # fmt: skip
    typer.echo(f"{out}: {sum(len(size.rows) for size in table.sizes)} rows, table {table.id}")
    for line in _accuracy(table):
        typer.echo(f"  {line}")


@app.command()
def show(table: TablePath, as_json: AsJson = False) -> None:
    """Print a table: where it was measured, how well it predicts whole networks, and every row."""
    require("torch", "search,cpu")
    from search.latency.table import LatencyTable

    loaded = LatencyTable.load(table)
    if as_json:
        print_json(loaded.model_dump(mode="json"))
        return
    typer.echo(f"table {loaded.id}  {loaded.target} on {loaded.session.device}, protocol {loaded.protocol}")
    for session in loaded.sessions:
        conditions = "".join(f", {name} {value}" for name, value in session.conditions.items())
        typer.echo(
            f"{session.date}: {session.engine}, {session.clock} clock{conditions}; machine typically "
            f"{session.disturbance:.0%} slower than in its quieter moments"
        )
    for line in _accuracy(loaded):
        typer.echo(line)
    for size in loaded.sizes:
        unstable = sum(not chain.stable for chain in size.chains)
        typer.echo(
            f"\n{size.width}x{size.height}: whole network = {size.calibration.intercept_ms:.3g} ms + "
            f"{size.calibration.slope:.3f} x rows; {unstable} of {len(size.chains)} timings did not settle"
        )
        print_table(
            ("operation", "channels", "at", "ms"),
            [
                (row.operation, f"{row.in_channels}->{row.out_channels}", f"1/{row.divisor}", f"{row.ms:.4f}")
                for row in size.rows
            ],
        )


@app.command()
def check(
    table: TablePath,
    share: Annotated[float, typer.Option(min=0.01, max=1.0, help="of its timings that are taken again")] = 0.25,
    seed: Annotated[int, typer.Option(min=0, help="which ones, and order of turns")] = 0,
    as_json: AsJson = False,
) -> None:
    """Does a table still hold on this machine? Takes timings again and compares; exit code 1 if it does not."""
    require("torch", "search,cpu")
    from dataclasses import asdict

    from search.latency.check import check_table
    from search.latency.table import LatencyTable

    loaded = LatencyTable.load(table)
    found = check_table(loaded, Target.parse(loaded.target), seed=seed, share=share)
    if as_json:
        print_json({**asdict(found), "holds": found.holds, "calm": found.calm})
    else:
        typer.echo(
            f"{found.compared} timings taken again: typically {found.typical:.3f} of what the table says; the machine "
            f"is {found.slowdown:.2f} times as slow as it was when the table was measured"
            + ("" if found.calm else ", which is far off: expect whole networks to follow it")
        )
        for text in found.inconsistent:
            typer.echo(f"  does not follow from the table's own timings: {text}")
        for d in found.deviations:
            typer.echo(f"  {d.what} at {d.width}x{d.height}: {d.then_ms:.4g} ms then, {d.now_ms:.4g} ms now")
    if not found.holds:
        raise TableDoesNotHoldError(
            f"{table} does not hold on this machine: {len(found.inconsistent)} parts do not follow from its timings, "
            f"{len(found.deviations)} of {found.compared} timings came out otherwise; measure it again with "
            f"`millisight latency measure --target {loaded.target} --out {table} --anew`"
        )
    if not as_json:
        typer.echo("the table holds")


@app.command()
def report(
    table: TablePath,
    out: Annotated[Path, typer.Option(help="folder for the page and its pictures")] = Path("latency-report"),
) -> None:
    """Draw a table: heat map, predicted against measured, time against pixels, coverage and noise. HTML and PNG."""
    require("torch", "search,cpu")
    from search.latency.report import write_latency_report
    from search.latency.table import LatencyTable

    for path in write_latency_report(LatencyTable.load(table), out):
        typer.echo(str(path))


def _accuracy(table: "LatencyTable") -> list[str]:
    """How well a table predicts, a line for each of its checks."""
    lines = []
    for found in table.checks:
        tau = "" if found.accuracy.tau is None else f", tau {found.accuracy.tau:.2f}"
        lines.append(
            f"{found.kind} at {found.width}x{found.height}: off by {found.accuracy.mape:.1%} on average, "
            f"{found.accuracy.worst:.1%} at worst, {found.accuracy.bias:+.1%} as a whole{tau} "
            f"({len(found.networks)} networks)"
        )
    return lines
