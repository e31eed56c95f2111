"""`serve`: finished bundles over HTTP. Needs no torch."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from millisight.console import require, usage
from millisight.target_option import parse_target


def serve(
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="bundles, or folders of bundles, to serve before runs/ and zoo/")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    target: Annotated[
        str | None, typer.Option(help="see `millisight targets`; auto, the default: the fastest of each bundle here")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="processes; default 1")] = None,
    slots: Annotated[
        int | None, typer.Option(min=1, max=64, help="batches of tiles at a time in one worker; default 1")
    ] = None,
) -> None:
    """Serve bundles over HTTP with BentoML. Further settings: the MILLISIGHT_ variables in docs/serving.md."""
    require("bentoml", "serve,cpu,openvino")
    where = None if target is None else usage(lambda: parse_target(target), "--target")
    # BentoML reports usage to its makers unless told otherwise before it starts.
    environment = {"BENTOML_DO_NOT_TRACK": "True", **os.environ}
    # What is given here wins over the variable; what is not given leaves it alone.
    if target is not None:
        environment["MILLISIGHT_TARGET"] = target if where is None else where.slug
    if workers is not None:
        environment["MILLISIGHT_WORKERS"] = str(workers)
    if slots is not None:
        environment["MILLISIGHT_SLOTS"] = str(slots)
    if bundles:
        defaults = [root for root in (Path("runs"), Path("zoo")) if root.is_dir()]
        environment["MILLISIGHT_BUNDLES"] = os.pathsep.join(str(root) for root in (*bundles, *defaults))
    arguments = [sys.executable, "-m", "bentoml", "serve", "serving.service:RestorationService"]
    arguments += ["--host", host, "--port", str(port)]
    sys.stdout.flush()
    os.execve(sys.executable, arguments, environment)
