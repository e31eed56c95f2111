"""`restore`: pictures through a bundle on this machine, or through a service. Needs no torch."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer
from tqdm import tqdm

from millisight.choosing import API_KEY, choose_bundle
from millisight.console import require, usage
from millisight.picture_files import Errand, Plan, PlanError, Wish, plan, report, save_whole
from millisight.target_option import TargetOption, parse_target
from runtime import (
    Bundle,
    Choice,
    ImageError,
    MillisightError,
    Restorer,
    encode_image,
    read_image,
)
from runtime.auto import AUTO
from runtime.encode import LOSSY_FORMATS, WrittenFormat

__all__ = ["restore"]

_ENLARGING = "super-resolution"


Metadata = Literal["strip", "keep"]


def restore(
    task: Annotated[str, typer.Argument(help="derain, denoise or super-resolution")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="PNG, JPEG, WebP, TIFF, BMP, GIF, or folders", exists=True)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="a picture by its ending; of several, a folder")],
    scale: Annotated[int | None, typer.Option(help="2 or 4, for super-resolution; default 2")] = None,
    model: Annotated[
        str | None, typer.Option(help="a bundle's name, or fast, balanced, best; default: yours, then the zoo's")
    ] = None,
    format: Annotated[  # noqa: A002 - the option's own name
        WrittenFormat | None, typer.Option(help="of what is written; default: the output's ending, in a folder png")
    ] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="of JPEG and WebP")] = None,
    metadata: Annotated[Metadata | None, typer.Option(help="EXIF: default strip")] = None,
    target: TargetOption = AUTO,
    server: Annotated[
        str | None, typer.Option(help="address of a service that restores instead of this machine")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help=f"with --server: variable that holds the key; default {API_KEY}")
    ] = None,
    deadline_ms: Annotated[
        int | None, typer.Option(min=1, max=3_600_000, help="with --server, for one picture: time to its answer")
    ] = None,
) -> None:
    """Restore one picture, or many into a folder; here, or with --server by a service."""
    files = usage(lambda: plan(images, output, format), "--output")
    if scale is not None and task != _ENLARGING:
        raise typer.BadParameter(f"{task} keeps the size; --scale is for {_ENLARGING}.", param_hint="--scale")
    if quality is not None and files.format not in LOSSY_FORMATS:
        raise typer.BadParameter(
            f"{files.format} loses nothing; it is for {' and '.join(LOSSY_FORMATS)}", param_hint="--quality"
        )
    if task == _ENLARGING and scale is None:
        scale = 2
    wish = Wish(task, scale, model, files.format, quality, metadata)
    if files.ignored:
        typer.echo(f"left alone, being no pictures by their names: {files.ignored}", err=True)
    if server is None:
        _refuse({"--api-key-env": api_key_env, "--deadline-ms": deadline_ms}, "is for --server; give both or neither")
        failed = _restore_here(wish, files, target)
    else:
        _refuse({"--target": None if target == AUTO else target}, "is for this machine; the service has chosen its own")
        if files.folder is not None:
            _refuse({"--deadline-ms": deadline_ms}, "is for one picture; a job of several has none")
        failed = _restore_there(wish, files, server, _api_key(api_key_env), deadline_ms)
    if failed:
        raise typer.Exit(1)


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(why, param_hint=name)


def _api_key(variable: str | None) -> str | None:
    key = os.environ.get(variable or API_KEY)
    if variable is not None and not key:
        raise typer.BadParameter(f"the variable {variable} is not set", param_hint="--api-key-env")
    return key or None


def _restore_there(wish: Wish, files: Plan, server: str, api_key: str | None, deadline_ms: int | None) -> bool:
    """Through a service; whether something failed."""
    require("httpx", "client")
    from millisight.sending import send

    return send(wish, files, server, api_key, deadline_ms)


def _restore_here(wish: Wish, files: Plan, target: str) -> bool:
    """On this machine, one picture after another; whether something failed."""
    where = usage(lambda: parse_target(target), "--target")
    bundle, choice = choose_bundle(wish.task, wish.scale, wish.model, where)
    restorer = Restorer.load(bundle, choice.target)
    by = f"{bundle.manifest.name} on {choice.target.slug}{_because(bundle, choice)}"
    start = time.perf_counter()
    if files.folder is None:
        try:
            _restore_file(restorer, files.errands[0], wish)
        except (ImageError, PlanError) as error:
            raise typer.BadParameter(str(error)) from error
        typer.echo(f"{files.errands[0].output}  ({by}; {time.perf_counter() - start:.2f} s)")
        return False
    failures = []
    for errand in tqdm(files.errands, desc=wish.task, unit="picture"):
        try:
            _restore_file(restorer, errand, wish)
        except MillisightError as error:
            failures.append(str(error))
    return report(files, failures, f"{by}; {time.perf_counter() - start:.1f} s")


def _restore_file(restorer: Restorer, errand: Errand, wish: Wish) -> None:
    restored = restorer.restore(read_image(errand.source, keep_metadata=wish.metadata == "keep"))
    save_whole(errand.output, encode_image(restored, wish.format, wish.quality))


def _because(bundle: Bundle, choice: Choice) -> str:
    """Why it is another target than the bundle's default."""
    default = bundle.manifest.default_target
    if choice.target.kind == default:
        return ""
    return f"; {choice.why}" if choice.why else f", as asked for; its default is {default}"
