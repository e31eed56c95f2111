"""Harmless names for files that clients have named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from runtime.image import WRITTEN_FORMATS, suffix_of

# Names that Windows gives to devices, whatever the suffix.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_STEM_BYTES = 150
_SUFFIXES = {f"image/{name}": suffix_of(name) for name in WRITTEN_FORMATS}


def harmless(name: str, index: int) -> str:
    """A client's file name without folders, control or invisible signs; `file-<index>` if nothing is left.

    Any string is allowed. The result is at most 255 bytes of UTF-8 and never empty, "." or "..".
    """
    last = unicodedata.normalize("NFC", name.replace("\\", "/")).rpartition("/")[2]
    visible = "".join(sign if sign.isprintable() else "" for sign in last)
    cut = _FORBIDDEN.sub("_", visible).encode("utf-8", "ignore")[:255].decode("utf-8", "ignore").strip(" .")
    if _DEVICES.fullmatch(cut):
        cut = "_" + cut
    return cut or f"file-{index}"


def archive_names(files: Iterable[tuple[str, str]]) -> list[str]:
    """Names for restored files in one folder: the right suffix, none twice on any file system.

    Args:
        files: Harmless name and media type of each file.
    """
    names: list[str] = []
    taken: set[str] = set()
    for name, media_type in files:
        stem, dot, suffix = name.rpartition(".")
        # What follows the last dot of a picture's name is its format; in others it may be part of a version number.
        stem = _cut(stem if dot and stem and re.fullmatch(r"[A-Za-z][A-Za-z0-9]{1,4}", suffix) else name)
        ending = _SUFFIXES.get(media_type, ".bin")
        candidate, count = stem + ending, 1
        # casefold: "A.png" and "a.png" are one file on some systems.
        while candidate.casefold() in taken:
            count += 1
            candidate = f"{stem} ({count}){ending}"
        taken.add(candidate.casefold())
        names.append(candidate)
    return names


def _cut(stem: str) -> str:
    return stem.encode()[:_STEM_BYTES].decode("utf-8", "ignore")
