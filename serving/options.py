"""Query options of the restoration routes; what is not known is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from starlette.datastructures import QueryParams

from runtime.image import LOSSY_FORMATS
from serving.errors import BadValueError, UnknownOptionError
from serving.negotiation import FORMATS, PictureFormat

SUPER_RESOLUTION = "super-resolution"
TASKS = ("derain", "denoise", SUPER_RESOLUTION)
SCALES = (2, 4)
DEADLINE_HEADER = "X-Deadline-Ms"
LONGEST_DEADLINE_MS = 3_600_000

Metadata = Literal["strip", "keep"]
METADATA: tuple[Metadata, ...] = get_args(Metadata)

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What a client asked for; None leaves the choice to the server.

    Attributes:
        model: Name of a bundle, or a role in its family: fast, balanced, best.
        scale: Of super-resolution.
        format: Of the answer; it wins over the Accept header.
        quality: 1 to 100, for the formats of `LOSSY_FORMATS`.
        metadata: Whether the answer repeats the EXIF block of the picture.
    """

    model: str | None = None
    scale: int | None = None
    format: PictureFormat | None = None
    quality: int | None = None
    metadata: Metadata = "strip"

    def check_format(self, chosen: PictureFormat) -> None:
        """Refuses a quality for a format that has none, once the format is known.

        Raises:
            BadValueError: There is a quality, and `chosen` is lossless.
        """
        if self.quality is not None and chosen not in LOSSY_FORMATS:
            raise BadValueError(
                f"Option 'quality' is for {' and '.join(LOSSY_FORMATS)}; the answer would be {chosen}, which loses "
                "nothing. Leave it out, or ask for one of these formats."
            )


def known_options(task: str) -> tuple[str, ...]:
    """Names of the options the route of this task takes."""
    common = ("model", "format", "quality", "metadata")
    return (*common, "scale") if task == SUPER_RESOLUTION else common


def parse_options(query: QueryParams, task: str, also: Sequence[str] = ()) -> Options:
    """Reads the query of a restoration route.

    Args:
        query: As sent.
        task: Whose route it is.
        also: Options that the route itself reads.

    Raises:
        UnknownOptionError: A name the route does not have, or one given twice.
        BadValueError: A value out of range, or an empty one.
    """
    known = known_options(task)
    names = [name for name, _ in query.multi_items()]
    for name in names:
        shown = repr(name[:80])
        if name not in (*known, *also):
            raise UnknownOptionError(f"Unknown option {shown}. {task} takes: {', '.join((*also, *known))}.")
        if names.count(name) > 1:
            raise UnknownOptionError(f"Option {shown} is given more than once. Give it once.")
    return Options(
        model=_model(query.get("model")),
        scale=_one_of(query, "scale", SCALES),
        format=_one_of(query, "format", FORMATS),
        quality=_read(query, "quality", lambda value: _whole(value, 1, 100), "a whole number from 1 to 100"),
        metadata=_one_of(query, "metadata", METADATA) or "strip",
    )


def parse_deadline(header: str | None) -> float | None:
    """Seconds that the `X-Deadline-Ms` header allows from the arrival of the request, or None without one.

    Raises:
        BadValueError: It is no whole number from 1 to an hour.
    """
    if header is None:
        return None
    milliseconds = _whole(header.strip(), 1, LONGEST_DEADLINE_MS)
    if milliseconds is None:
        raise BadValueError(
            f"{DEADLINE_HEADER} is {header[:40]!r}. Allowed: a whole number of milliseconds from 1 to "
            f"{LONGEST_DEADLINE_MS}."
        )
    return milliseconds / 1000


def _model(value: str | None) -> str | None:
    if value == "":
        raise BadValueError("Option 'model' is empty. Give a name that /v1/models lists, or leave the option out.")
    return value


def _one_of(query: QueryParams, name: str, allowed: Sequence[T]) -> T | None:
    by_text = {str(value): value for value in allowed}
    return _read(query, name, by_text.get, ", ".join(by_text))


def _read(query: QueryParams, name: str, read: Callable[[str], T | None], allowed: str) -> T | None:
    value = query.get(name)
    if value is None:
        return None
    found = read(value)
    if found is None:
        raise BadValueError(f"Option {name!r} is {value[:80]!r}. Allowed: {allowed}.")
    return found


def _whole(text: str, least: int, most: int) -> int | None:
    # int() alone would take "1_0", " 7" and digits of other scripts, and digits without end.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        return None
    value = int(text)
    return value if least <= value <= most else None
