"""`restore`, `verify` and `serve`: what is done with finished bundles. None of it needs torch."""

import os
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from millisight.console import print_json, require, usage
from millisight.promise import records_for, time_promise
from runtime import Bundle, BundleError, ImageError, Restorer, Target, open_engine, read_image, write_image

TargetOption = Annotated[str, typer.Option(help="see `millisight targets`")]
DEFAULT_TARGET = "cpu-onnxruntime-fp32"


def restore(
    task: Annotated[str, typer.Argument(help="derain, denoise or super-resolution")],
    image: Annotated[Path, typer.Argument(help="PNG, JPEG, WebP, TIFF, BMP or GIF", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG, JPEG or WebP, by its suffix")],
    scale: Annotated[int | None, typer.Option(help="2 or 4, for super-resolution; default 2")] = None,
    model: Annotated[str | None, typer.Option(help="name of a bundle; default: yours first, then the zoo's")] = None,
    target: TargetOption = DEFAULT_TARGET,
) -> None:
    """Restore one picture."""
    where = usage(lambda: Target.parse(target), "--target")
    if task == "super-resolution" and scale is None:
        scale = 2
    bundle = _choose(task, scale, model)
    restorer = Restorer.load(bundle, where)
    try:
        write_image(output, restorer.restore(read_image(image)))
    except ImageError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{output}  ({bundle.manifest.name} on {where.slug})")


def verify(
    bundle: Annotated[Path, typer.Argument(help="a bundle's folder")],
    data: Annotated[
        str | None, typer.Option(help="folder(s) of clean images or of pairs, comma-separated: scores it on them")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many pairs; default 16")] = None,
    at_least: Annotated[float | None, typer.Option(help="gain in dB below which the check fails; default 0")] = None,
    target: TargetOption = DEFAULT_TARGET,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Check a bundle's hashes, and either score it on --data or, without, time it against its budget on --target."""
    where = usage(lambda: Target.parse(target), "--target")
    found = Bundle.load(bundle)
    if data is None:
        unused = [name for name, value in (("--limit", limit), ("--at-least", at_least)) if value is not None]
        if unused:
            raise typer.BadParameter("has no effect without --data", param_hint="/".join(unused))
        holds = _time(found, where, as_json)
    else:
        holds = _score(found, where, data, 16 if limit is None else limit, at_least or 0.0, as_json)
    if not holds:
        raise typer.Exit(1)


def _score(bundle: Bundle, target: Target, data: str, limit: int, at_least: float, as_json: bool) -> bool:
    """Print the gain in dB on images, through the code that serves; is it large enough?"""
    # Imported late: timing needs neither.
    from tasks import evaluate, get_task, load_data, validation_pairs

    restorer, manifest = Restorer.load(bundle, target), bundle.manifest
    task = get_task(manifest.task, manifest.scale)
    images = load_data(data)
    pairs = validation_pairs(task, (*images.valid, *images.train), limit)
    quality = evaluate(task, pairs, restorer.restore_array)
    gain = quality.restored_db - quality.degraded_db
    holds = bool(np.isfinite(gain)) and gain >= at_least
    if as_json:
        print_json(
            {
                "bundle": manifest.name,
                "degraded_db": quality.degraded_db,
                "restored_db": quality.restored_db,
                "gain_db": gain,
                "images": quality.images,
                "holds": holds,
            }
        )
    else:
        typer.echo(
            f"{manifest.name}: {quality.degraded_db:.2f} -> {quality.restored_db:.2f} dB on {quality.images} pairs "
            f"({gain:+.2f} dB, at least {at_least:+.2f} wanted): {'holds' if holds else 'does not hold'}"
        )
    return holds


def _time(bundle: Bundle, target: Target, as_json: bool) -> bool:
    """Print what the file takes on a target beside what was promised; is every promise kept?"""
    records = records_for(bundle.manifest, target)
    if not records:
        known = ", ".join(sorted({record.target for record in bundle.manifest.latency})) or "none"
        raise typer.BadParameter(
            f"{bundle.folder} promises nothing on {target.slug}, only on: {known}; name one of these, or images with "
            "--data",
            param_hint="--target",
        )
    engine = open_engine(bundle.model_path, target)
    promises = [time_promise(engine, record) for record in records]
    holds = all(promise.holds for promise in promises)
    if as_json:
        timings = [promise.content for promise in promises]
        print_json({"bundle": bundle.manifest.name, "target": target.slug, "timings": timings, "holds": holds})
    else:
        typer.echo("\n".join([bundle.manifest.name, *map(str, promises)]))
    return holds


def serve(
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="bundles, or folders of bundles, to serve before runs/ and zoo/")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    target: TargetOption = DEFAULT_TARGET,
) -> None:
    """Serve bundles over HTTP with BentoML. Further settings: the MILLISIGHT_ variables in docs/serving.md."""
    require("bentoml", "serve,cpu")
    where = usage(lambda: Target.parse(target), "--target")
    # BentoML reports usage to its makers unless told otherwise before it starts.
    environment = {"BENTOML_DO_NOT_TRACK": "True", **os.environ, "MILLISIGHT_TARGET": where.slug}
    if bundles:
        defaults = [root for root in (Path("runs"), Path("zoo")) if root.is_dir()]
        environment["MILLISIGHT_BUNDLES"] = os.pathsep.join(str(root) for root in (*bundles, *defaults))
    arguments = [sys.executable, "-m", "bentoml", "serve", "serving.service:RestorationService"]
    arguments += ["--host", host, "--port", str(port)]
    sys.stdout.flush()
    os.execve(sys.executable, arguments, environment)


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
