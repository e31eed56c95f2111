"""What decoding and encoding cost: seconds of one core per megapixel, for each format, as measured on this machine."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from PIL import Image

from runtime.image import WRITTEN_FORMATS, decode_image, encode_image

# Seconds per megapixel of one core before `calibrate` has run; of a server processor of 2023, rounded up.
_DECODE = {"png": 0.05, "jpeg": 0.03, "webp": 0.06, "tiff": 0.03, "bmp": 0.02, "gif": 0.04}
_ENCODE = {"png": 0.20, "jpeg": 0.03, "webp": 0.60, "tiff": 0.05}
_OTHER = 0.1
# Every file costs this much whatever its size: opening, checking its structure.
_LEAST = 2e-4
_SIDE = 256
_WEIGHT, _OUTLIER = 0.1, 3.0
_SMALLEST = 0.01  # megapixels; what takes no time says nothing of the time per megapixel


class Sized(Protocol):
    """A picture's format and size; `runtime.image.PictureInfo` is one."""

    @property
    def format(self) -> str:
        """`PNG`, `JPEG`, ...; letters of any case."""

    @property
    def width(self) -> int:
        """Columns."""

    @property
    def height(self) -> int:
        """Rows."""


class CodecCosts:
    """Seconds of one core to decode or encode a picture. Thread-safe."""

    def __init__(self) -> None:
        self._decode, self._encode = dict(_DECODE), dict(_ENCODE)
        self._lock = threading.Lock()

    def calibrate(self) -> None:
        """Times a small generated picture in every format that is read or written; takes well below a second."""
        pixels = sample_pixels(_SIDE)
        megapixels = _SIDE * _SIDE / 1e6
        decode: dict[str, float] = {}
        encode: dict[str, float] = {}
        for name in _DECODE:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, name.upper())
            data = file.getvalue()
            decode[name] = _seconds(lambda data=data: decode_image(data)) / megapixels  # type: ignore[misc]
        picture = decode_image(data)
        for written in WRITTEN_FORMATS:
            encode[written] = _seconds(lambda fmt=written: encode_image(picture, fmt)) / megapixels  # type: ignore[misc]
        with self._lock:
            self._decode.update(decode)
            self._encode.update(encode)

    def decode_seconds(self, info: Sized) -> float:
        """Seconds of one core to decode a file with this header."""
        return _LEAST + _rate(self._decode, info.format) * info.width * info.height / 1e6

    def encode_seconds(self, picture_format: str, width: int, height: int) -> float:
        """Seconds of one core to write a picture of this size."""
        return _LEAST + _rate(self._encode, picture_format) * width * height / 1e6

    def observe_decode(self, info: Sized, seconds: float) -> None:
        """Takes notice of what decoding a file took."""
        self._observe(self._decode, info.format, info.width * info.height / 1e6, seconds)

    def observe_encode(self, picture_format: str, width: int, height: int, seconds: float) -> None:
        """Takes notice of what writing a picture took."""
        self._observe(self._encode, picture_format, width * height / 1e6, seconds)

    def _observe(self, rates: dict[str, float], name: str, megapixels: float, seconds: float) -> None:
        if megapixels < _SMALLEST or not seconds > 0:
            return
        with self._lock:
            old = _rate(rates, name)
            seen = min(max(max(seconds - _LEAST, 1e-6) / megapixels, old / _OUTLIER), old * _OUTLIER)
            rates[name.lower()] = old * (seen / old) ** _WEIGHT


def sample_pixels(side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A colour picture of smooth shapes with some noise: neither flat nor incompressible, as photographs are."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side
    waves = np.stack([np.sin(9 * rows + 3 * columns), np.cos(7 * columns), np.sin(11 * rows * columns)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 3, waves.shape)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def _rate(rates: Mapping[str, float], name: str) -> float:
    return rates.get(name.lower(), _OTHER)


def _seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
