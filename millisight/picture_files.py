"""What is restored and how: the files to read, those to write, and what is wanted of them; here or by a service."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from runtime import MillisightError
from runtime.image import SUFFIXES, WrittenFormat, suffix_of

__all__ = ["Errand", "Plan", "PlanError", "Wish", "plan", "report", "save_whole"]

# In a folder, what ends otherwise is left alone; a file that is named is read whatever it ends with.
_READ = frozenset(SUFFIXES) | {".bmp", ".gif"}


class PlanError(MillisightError):
    """The files named do not fit together."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of every picture; None leaves it to the bundle or the service.

    Attributes:
        task: derain, denoise or super-resolution.
        scale: Output side over input side.
        model: Name of a bundle.
        format: Of what is written.
        quality: 1 to 100, for JPEG and WebP.
        metadata: strip or keep.
    """

    task: str
    scale: int | None
    model: str | None
    format: WrittenFormat
    quality: int | None
    metadata: str | None


@dataclass(frozen=True)
class Errand:
    """One picture.

    Attributes:
        source: The file to read.
        name: What it is called, with its folders below the one that was named.
        output: The file to write.
    """

    source: Path
    name: str
    output: Path


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        errands: At least one.
        format: Of what is written.
        folder: Where, if it is a folder; None for one picture that goes to one file.
        ignored: Files in the folders that are no pictures by their names.
    """

    errands: tuple[Errand, ...]
    format: WrittenFormat
    folder: Path | None
    ignored: int = 0


def plan(images: Sequence[Path], output: Path, picture_format: WrittenFormat | None) -> Plan:
    """Pairs inputs with outputs.

    One file goes to the file `output`, whose ending says the format. Several, a folder, or any number where `output` is
    a folder, go into that folder, with the same names and folders below; PNG unless another format is asked for.

    Args:
        images: Files, and folders that are searched through.
        output: A file or a folder.
        picture_format: Asked for, or None.

    Raises:
        PlanError: There is no picture, two would be written to one file, or a name and the format disagree.
    """
    if len(images) == 1 and not images[0].is_dir() and not output.is_dir():
        return Plan((Errand(images[0], images[0].name, output),), _format_of(output, picture_format), None)
    if output.is_file():
        raise PlanError(f"{output} is a file. For several pictures, name a folder.")
    chosen: WrittenFormat = picture_format or "png"
    errands: list[Errand] = []
    ignored = 0
    for image in images:
        found, others = _below(image, output) if image.is_dir() else ([image], 0)
        ignored += others
        base = image if image.is_dir() else image.parent
        for file in found:
            name = file.relative_to(base)
            errand = Errand(file, name.as_posix(), output / name.with_suffix(suffix_of(chosen)))
            errands.append(errand)
    if not errands:
        raise PlanError(f"There is no picture in {', '.join(map(str, images))}: no file ends with {_listed(_READ)}.")
    # A file that is named, and in a folder that is named, is one picture.
    errands = list(dict.fromkeys(errands))
    _check_apart(errands)
    return Plan(tuple(errands), chosen, output, ignored)


def report(files: Plan, failures: list[str], by: str) -> bool:
    """Say what became of many pictures; whether some failed."""
    for failure in failures:
        typer.echo(f"millisight: {failure}", err=True)
    restored = len(files.errands) - len(failures)
    typer.echo(f"{files.folder}  ({restored} of {len(files.errands)} restored by {by})")
    return bool(failures)


def save_whole(path: Path, data: bytes) -> None:
    """Write a file and the folders it is in; it is written beside its place and moved there.

    Raises:
        PlanError: It cannot be written.
    """
    beside = path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise PlanError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        beside.unlink(missing_ok=True)


def _format_of(output: Path, asked: WrittenFormat | None) -> WrittenFormat:
    by_name = SUFFIXES.get(output.suffix.lower())
    if by_name is None:
        raise PlanError(f"{output} cannot be written: '{output.suffix}' is not one of {', '.join(SUFFIXES)}.")
    if asked not in (None, by_name):
        raise PlanError(f"{output} is a name for {by_name}, and the format asked for is {asked}. Change one of them.")
    return by_name


def _below(folder: Path, output: Path) -> tuple[list[Path], int]:
    """Pictures in a folder and below it, in order, and the number of other files; `output` is left out."""
    own = output.resolve()
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (own == folder.resolve() or own not in path.resolve().parents)
    ]
    pictures = [path for path in files if path.suffix.lower() in _READ]
    return pictures, len(files) - len(pictures)


def _check_apart(errands: Sequence[Errand]) -> None:
    taken: dict[Path, Path] = {}
    sources = {errand.source.resolve() for errand in errands}
    for errand in errands:
        other = taken.setdefault(errand.output, errand.source)
        if other != errand.source:
            raise PlanError(
                f"{other} and {errand.source} would both be written to {errand.output}. Rename one of them."
            )
        if errand.output.resolve() in sources:
            raise PlanError(f"{errand.output} is one of the pictures to read. Name another folder.")


def _listed(endings: frozenset[str]) -> str:
    return ", ".join(sorted(endings))
