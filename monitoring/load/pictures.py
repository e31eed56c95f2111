"""Pictures that cost what photographs cost, made from a seed, and files that are no pictures at all."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from monitoring.load.offers import Offer

__all__ = ["BAD_FILES", "FORMATS", "Body", "photo", "picture_bodies"]

FORMATS: Mapping[str, tuple[str, dict[str, int]]] = {
    "jpeg": ("JPEG", {"quality": 90}),
    "png": ("PNG", {"compress_level": 3}),
    "webp": ("WEBP", {"quality": 85, "method": 2}),
}
"""Formats of pictures: Pillow's name and options."""

BAD_FILES: Mapping[str, bytes] = {
    "empty": b"",
    "text": b"This is a letter and no picture. " * 20,
    "pdf": b"%PDF-1.7\n" + bytes(range(256)),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
    "signature": b"\x89PNG\r\n\x1a\n",
}
"""Files that every service refuses; `picture_bodies` adds a picture that is cut in half."""

_SMALLEST = 8


@dataclass(frozen=True)
class Body:
    """What one request sends.

    Attributes:
        route: Path and query.
        task: What is asked for.
        kind: Format of a picture, or what is wrong with the file.
        media_type: As the request declares it.
        data: The file.
        good: Whether it is a picture.
    """

    route: str
    task: str
    kind: str
    media_type: str
    data: bytes
    good: bool = True


def photo(width: int, height: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A picture with the look of a photograph to a codec: smooth light, edges, texture and a little noise.

    Args:
        width: Pixels, at least 1.
        height: Pixels, at least 1.
        random: Decides everything.

    Returns:
        (height, width, 3), 8 bits.
    """
    light = np.zeros((height, width, 3), dtype=np.float32)
    for octave, strength in ((2, 70.0), (4, 45.0), (16, 18.0), (64, 9.0)):
        coarse = random.uniform(-1, 1, (octave, octave, 3)).astype(np.float32)
        for channel in range(3):
            plane = Image.fromarray(coarse[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
            light[..., channel] += strength * np.asarray(plane)
    canvas = Image.fromarray(np.clip(128 + light, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(12):
        left, top = random.integers(0, width), random.integers(0, height)
        right, bottom = left + random.integers(1, width + 1) // 4, top + random.integers(1, height + 1) // 4
        color = (int(random.integers(256)), int(random.integers(256)), int(random.integers(256)))
        draw.ellipse((int(left), int(top), int(right), int(bottom)), fill=color)
    noisy = np.asarray(canvas, dtype=np.float32) + random.normal(0, 6, (height, width, 3)).astype(np.float32)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def picture_bodies(
    offered: Sequence[Offer], sizes: Sequence[tuple[int, int]], formats: Sequence[str], seed: int
) -> tuple[tuple[Body, ...], tuple[Body, ...]]:
    """Every task in every size and format once, and bad files for every task.

    Args:
        offered: Tasks and scales.
        sizes: (width, height) of the larger of picture in and picture out, pixels: what is enlarged goes in smaller.
        formats: Of `FORMATS`.
        seed: Of the pictures.

    Returns:
        The pictures and the bad files.
    """
    good, bad = list[Body](), list[Body]()
    for index, offer in enumerate(offered):
        for number, (width, height) in enumerate(sizes):
            sides = [max(_SMALLEST, side // offer.scale) for side in (width, height)]
            pixels = Image.fromarray(photo(sides[0], sides[1], np.random.default_rng((seed, index, number))))
            for name in formats:
                buffer = io.BytesIO()
                kind, options = FORMATS[name]
                pixels.save(buffer, kind, **options)
                route = f"{offer.route}format={name}"
                good.append(Body(route, offer.task, name, f"image/{name}", buffer.getvalue()))
        cut = good[-1].data[: len(good[-1].data) // 2]
        for name, data in {**BAD_FILES, "cut": cut}.items():
            bad.append(Body(offer.route.rstrip("?&"), offer.task, name, "application/octet-stream", data, good=False))
    return tuple(good), tuple(bad)
