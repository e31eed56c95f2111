"""Which picture format the client gets: `Accept` with q-values (RFC 9110, 12.5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.image import WrittenFormat
from serving.errors import NotAcceptableError

PictureFormat = WrittenFormat

# In our own order of preference: what loses nothing comes first.
FORMATS: tuple[PictureFormat, ...] = ("png", "webp", "jpeg", "tiff")


@dataclass(frozen=True)
class MediaRange:
    """One entry of an Accept header: `type/subtype;q=quality`; quality in [0, 1]."""

    type: str
    subtype: str
    quality: float

    @property
    def specificity(self) -> int:
        """2 for image/png, 1 for image/*, 0 for */*."""
        return (self.type != "*") + (self.subtype != "*")

    def matches(self, picture_format: PictureFormat) -> bool:
        """Whether this entry covers image/<picture_format>."""
        return self.type in ("*", "image") and self.subtype in ("*", picture_format)


def parse_accept(header: str) -> list[MediaRange]:
    """Reads an Accept header; entries that are not well-formed are left out, as if not sent."""
    ranges = []
    for entry in header.split(","):
        name, *parameters = (piece.strip() for piece in entry.split(";"))
        kind, slash, subtype = name.lower().partition("/")
        quality = _quality(parameters)
        if not (kind and slash and subtype) or (kind == "*" and subtype != "*") or quality is None:
            continue
        ranges.append(MediaRange(kind, subtype, quality))
    return ranges


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            digits = value.strip()
            # The grammar allows digits and one dot only; float() alone would let "nan", "inf" and "1_0" in.
            if not digits.replace(".", "", 1).isdecimal() or not digits.isascii():
                return None
            quality = float(digits)
            return quality if quality <= 1 else None
    return 1.0


def choose_format(accept: str | None) -> PictureFormat:
    """Picks the format to answer with.

    The most specific matching entry gives each format its quality; the highest quality wins, and among equals the
    first of `FORMATS`. No header, or an empty one, accepts everything.

    Args:
        accept: The Accept header, several lines joined by commas.

    Raises:
        NotAcceptableError: No format we write has a quality above 0.
    """
    if accept is None or not accept.strip():
        return FORMATS[0]
    ranges = parse_accept(accept)
    best: PictureFormat | None = None
    best_quality = 0.0
    for picture_format in FORMATS:
        matching = [entry for entry in ranges if entry.matches(picture_format)]
        quality = max(matching, key=lambda entry: entry.specificity).quality if matching else 0.0
        if quality > best_quality:
            best, best_quality = picture_format, quality
    if best is None:
        offered = ", ".join(f"image/{name}" for name in FORMATS)
        raise NotAcceptableError(f"Accept: {accept[:200]!r} allows none of {offered}.")
    return best
