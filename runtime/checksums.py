"""`SHA256SUMS`: one line for each file of a bundle, in the format that `sha256sum -c` reads.

A manifest holds the hashes of the other files but not its own. With the sums beside it every byte of a bundle is
covered: theirs too, because a reader builds the whole text anew from what lies in the folder and compares all of it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from runtime.errors import BundleError

__all__ = ["SUMS_NAME", "hash_file", "sums_line", "sums_text"]

SUMS_NAME = "SHA256SUMS"
"""File name of the sums in a bundle."""


def sums_line(name: str, digest: str) -> str:
    """The line of one file."""
    return f"{digest}  {name}\n"


def sums_text(hashes: Mapping[str, str]) -> str:
    """The whole text, sorted by name.

    Args:
        hashes: File name to SHA-256 of every file but `SHA256SUMS` itself.
    """
    return "".join(sums_line(name, hashes[name]) for name in sorted(hashes))


def hash_file(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        BundleError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error
