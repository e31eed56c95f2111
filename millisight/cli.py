"""`millisight`: exit code 0 ok, 1 the work failed or a gate did not hold, 2 wrong use."""

import os
import sys

import typer

from millisight import (
    doctor,
    drawing,
    exporting,
    keys,
    latency,
    loading,
    machine,
    monitor,
    resources,
    restoring,
    searching,
    serving_command,
    store,
    verifying,
)
from millisight.console import MissingExtraError
from runtime import MillisightError

app = typer.Typer(
    name="millisight",
    help="Find the best image-restoration network that meets a latency budget on this machine, and serve it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(machine.targets)
app.command()(doctor.doctor)
app.command()(searching.methods)
app.add_typer(latency.app, name="latency")
app.command()(searching.search)
app.command()(drawing.draw)
app.command()(exporting.export)
app.command()(verifying.verify)
app.command()(restoring.restore)
app.command()(serving_command.serve)
app.command()(resources.resources)
app.command()(loading.load)
app.add_typer(store.app, name="store")
app.add_typer(keys.app, name="keys")
app.add_typer(monitor.app, name="monitor")


def main() -> None:
    """Run the command line; a foreseen failure is one line, not a traceback."""
    if not sys.stderr.isatty():
        # Progress bars in a log file: a line now and then, not ten a second.
        os.environ.setdefault("TQDM_MININTERVAL", "15")
    # Read when torch is loaded: how long its threads spin while they wait for each other. Seconds per training step on
    # 2 cores, quiet / beside a neighbour with priority: unlimited 0.05 / 1.9, 20000 0.05 / 0.25, none 0.08 / 0.11.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        app()
    except (MillisightError, MissingExtraError) as error:
        typer.echo(f"millisight: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("millisight: interrupted; the same command goes on where it was", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
