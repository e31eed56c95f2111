"""`latency measure` and `latency show`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from millisight.console import print_json, print_table, require, usage
from runtime import Target

app = typer.Typer(help="Latency tables: measured milliseconds of every operation at every shape.", no_args_is_help=True)


@app.command()
def measure(
    out: Annotated[Path, typer.Option(help="the table's JSON file")],
    target: Annotated[str, typer.Option(help="see `millisight targets`")] = "cpu-onnxruntime-fp32",
    task: Annotated[str, typer.Option(help="derain, denoise or super-resolution")] = "denoise",
    scale: Annotated[int | None, typer.Option(help="2 or 4, for super-resolution")] = None,
    method: Annotated[str, typer.Option(help="its space is measured; see `millisight methods`")] = "autoderain",
    preset: Annotated[str, typer.Option(help="sizes of the space; see `millisight methods`")] = "default",
    sizes: Annotated[str, typer.Option(help="input sizes, WIDTHxHEIGHT, comma-separated")] = "256x256,512x512",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure a table on this machine. Interrupted, the same command goes on."""
    require("torch", "search,cpu")
    from search import RunConfig, parse_size
    from search.config import Plan
    from search.latency.measure import RULE, measure_table
    from search.pipeline import code_version

    where = usage(lambda: Target.parse(target), "--target")
    pixels = [usage(lambda text=text: parse_size(text), "--sizes") for text in sizes.split(",")]  # type: ignore[misc]
    if task == "super-resolution" and scale is None:
        scale = 2
    config = RunConfig(task=task, scale=scale, method=method, target=where.slug, preset=preset)
    plan = usage(lambda: Plan(config), "--task/--scale/--method/--preset")
    rule = replace(RULE, max_seconds=plan.preset.measure_seconds)
    table = measure_table(
        plan.space, plan.space_config, where, pixels, out, seed=seed, rule=rule, code_version=code_version()
    )
    typer.echo(f"{out}: {sum(len(size.rows) for size in table.sizes)} rows, table {table.id}")


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="a table's JSON file")],
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Print a table: where it was measured, how well it predicts whole networks, and every row."""
    require("torch", "search,cpu")
    from search.latency.table import LatencyTable

    loaded = LatencyTable.load(table)
    if as_json:
        print_json(loaded.model_dump(mode="json"))
        return
    engine = loaded.target.split("-")[1]
    typer.echo(f"table {loaded.id}  {loaded.target} on {loaded.host.device}, {loaded.date}")
    typer.echo(f"{engine} {loaded.host.packages.get(engine, '?')}, {loaded.clock} clock, protocol {loaded.protocol}")
    for size in loaded.sizes:
        calibration = size.calibration
        unstable = sum(not chain.stable for chain in size.chains)
        typer.echo(
            f"\n{size.width}x{size.height}: whole network = {calibration.intercept_ms:.3g} ms + "
            f"{calibration.slope:.3f} x rows; held-out error {calibration.mape:.1%}, worst {calibration.worst:.1%} on "
            f"{len(calibration.networks)} networks; {unstable} of {len(size.chains)} timings unstable"
        )
        print_table(
            ("operation", "channels", "at", "ms"),
            [
                (row.operation, f"{row.in_channels}->{row.out_channels}", f"1/{row.divisor}", f"{row.ms:.4f}")
                for row in size.rows
            ],
        )
