"""`restore` and `serve`: what finished bundles are for. Neither needs torch."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from millisight.console import require, usage
from runtime import (
    Bundle,
    BundleError,
    Choice,
    ImageError,
    Restorer,
    Target,
    choose_target,
    read_image,
    write_image,
)
from runtime.auto import AUTO

TargetOption = Annotated[
    str, typer.Option(help="see `millisight targets`; auto: the fastest that the bundle knows and this machine has")
]


def restore(
    task: Annotated[str, typer.Argument(help="derain, denoise or super-resolution")],
    image: Annotated[Path, typer.Argument(help="PNG, JPEG, WebP, TIFF, BMP or GIF", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG, JPEG or WebP, by its suffix")],
    scale: Annotated[int | None, typer.Option(help="2 or 4, for super-resolution; default 2")] = None,
    model: Annotated[str | None, typer.Option(help="name of a bundle; default: yours first, then the zoo's")] = None,
    target: TargetOption = AUTO,
) -> None:
    """Restore one picture."""
    where = usage(lambda: _parse(target), "--target")
    if task == "super-resolution" and scale is None:
        scale = 2
    bundle = _choose(task, scale, model)
    choice = choose_target(bundle) if where is None else Choice(where, "")
    restorer = Restorer.load(bundle, choice.target)
    try:
        write_image(output, restorer.restore(read_image(image)))
    except ImageError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{output}  ({bundle.manifest.name} on {choice.target.slug}{_because(bundle, choice)})")


def serve(
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="bundles, or folders of bundles, to serve before runs/ and zoo/")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    target: TargetOption = AUTO,
) -> None:
    """Serve bundles over HTTP with BentoML. Further settings: the MILLISIGHT_ variables in docs/serving.md."""
    require("bentoml", "serve,cpu,openvino")
    where = usage(lambda: _parse(target), "--target")
    # BentoML reports usage to its makers unless told otherwise before it starts.
    environment = {"BENTOML_DO_NOT_TRACK": "True", **os.environ, "MILLISIGHT_TARGET": where.slug if where else AUTO}
    if bundles:
        defaults = [root for root in (Path("runs"), Path("zoo")) if root.is_dir()]
        environment["MILLISIGHT_BUNDLES"] = os.pathsep.join(str(root) for root in (*bundles, *defaults))
    arguments = [sys.executable, "-m", "bentoml", "serve", "serving.service:RestorationService"]
    arguments += ["--host", host, "--port", str(port)]
    sys.stdout.flush()
    os.execve(sys.executable, arguments, environment)


def _parse(target: str) -> Target | None:
    """None for `auto`."""
    return None if target.strip() == AUTO else Target.parse(target)


def _because(bundle: Bundle, choice: Choice) -> str:
    """Why it is another target than the bundle's default."""
    default = bundle.manifest.default_target
    if choice.target.kind == default:
        return ""
    return f"; {choice.why}" if choice.why else f", as asked for; its default is {default}"


def _choose(task: str, scale: int | None, name: str | None) -> Bundle:
    """The bundle that the service would choose too: the first that fits, in the order of the folders."""
    # The service's own rule; importing it does not import BentoML.
    from serving.library import discover
    from serving.settings import Settings

    found = discover(Settings.from_environment())
    for bundle in found:
        manifest = bundle.manifest
        if manifest.task == task and scale in (None, manifest.scale) and name in (None, manifest.name):
            return bundle
    there = ", ".join(f"{b.manifest.name} ({b.manifest.task} x{b.manifest.scale})" for b in found)
    wanted = " ".join(part for part in (task, f"x{scale}" if scale else "", name or "") if part)
    raise BundleError(f"no bundle does {wanted}; there are: {there}")
