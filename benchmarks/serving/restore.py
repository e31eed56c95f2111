"""The work itself, as everybody does it who is not our service: decode, restore, encode."""

import threading
from collections.abc import Mapping
from pathlib import Path

from benchmarks.serving.works import Format
from runtime.image import ImageLimits, decode_image, encode_image
from runtime.restorer import Restorer

_LIMITS = ImageLimits()


class Workshop:
    """Bundles opened on one target; one network runs at a time, as in a service with one slot.

    Args:
        bundles: Route to the bundle's folder.
        target: Where they run.
    """

    def __init__(self, bundles: Mapping[str, str | Path], target: str) -> None:
        self._restorers = {route: Restorer.load(Path(folder), target) for route, folder in bundles.items()}
        self._slot = threading.Lock()

    def restore(self, route: str, data: bytes, picture_format: Format) -> bytes:
        """One picture file in, one out."""
        picture = decode_image(data, _LIMITS)
        with self._slot:
            restored = self._restorers[route].restore(picture)
        return encode_image(restored, picture_format)


def format_of(data: bytes) -> Format:
    """The format of a picture file of the benchmark; answers come back in the same."""
    return "jpeg" if data.startswith(b"\xff\xd8") else "png"
