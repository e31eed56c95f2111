"""Dead leaves: procedural images with the occlusions and scale statistics of photographs, for training without data.

Opaque textured shapes of power-law size cover each other at random (Lee, Mumford & Huang 2001). Networks trained on
such images restore photographs nearly as well as those trained on photographs (Achddou, Gousseau & Ladjal 2021), so a
fresh installation can search and train before any data set is at hand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError

__all__ = ["dead_leaves"]

# Range of an image's smallest radius in pixels: some are busy like foliage, some calm like a wall.
_SMALLEST_RADIUS = (3.0, 18.0)
_LARGEST_RADIUS_SHARE = 0.5  # of the image side
_COVERAGE = 4.0  # how many times over the shapes would tile the canvas: exp(-4) = 2 % of the first coat stays visible
_NOISE_FIELDS = 4


def dead_leaves(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Paint one image.

    Args:
        rng: source of everything random.
        size: side in pixels, at least 16.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        TaskError: the size is below 16.
    """
    if size < 16:
        raise TaskError(f"a dead-leaves image needs a side of at least 16 pixels, got {size}")
    smallest = math.exp(rng.uniform(math.log(_SMALLEST_RADIUS[0]), math.log(_SMALLEST_RADIUS[1])))
    largest = max(1.5 * smallest, _LARGEST_RADIUS_SHARE * size)
    fields = np.stack([_power_noise(rng, size, exponent) for exponent in rng.uniform(0.5, 1.6, size=_NOISE_FIELDS)])
    palette = _palette(rng)
    canvas = np.empty((size, size, 3), dtype=np.float32)
    canvas[:] = palette[0]
    canvas += 0.08 * fields[0][..., None]
    inverse_small, inverse_large = smallest**-2, largest**-2
    mean_area = 2.0 * math.pi * math.log(largest / smallest) / (inverse_small - inverse_large)
    count = int(_COVERAGE * size * size / mean_area)
    # Density r^-3 makes the image statistics independent of scale.
    radii = (inverse_large + rng.random(count) * (inverse_small - inverse_large)) ** -0.5
    for radius in radii:
        _paint_leaf(canvas, rng, float(radius), palette, fields)
    canvas *= _lighting(rng, size)
    canvas = _blur(canvas, float(rng.uniform(0.25, 0.6)))
    return np.asarray(np.clip(canvas, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8)


def _palette(rng: np.random.Generator, count: int = 12) -> NDArray[np.float32]:
    """Colours (count, 3): brightness spread widely, chroma small and shared by groups, as in one scene."""
    brightness = rng.beta(1.5, 1.9, size=(count, 1))
    scene = rng.normal(0.0, 0.03, size=(1, 3))
    chroma = rng.normal(0.0, 0.06, size=(count, 3)) * rng.choice((0.3, 1.0, 2.0), size=(count, 1))
    colours = np.clip(brightness + scene + chroma - chroma.mean(axis=1, keepdims=True), 0.02, 0.98)
    return np.asarray(colours, dtype=np.float32)


def _paint_leaf(
    canvas: NDArray[np.float32],
    rng: np.random.Generator,
    radius: float,
    palette: NDArray[np.float32],
    fields: NDArray[np.float32],
) -> None:
    """Cover a random place of the canvas with one textured ellipse or polygon, edges soft over one pixel."""
    size = canvas.shape[0]
    centre_y, centre_x = rng.uniform(-0.5 * radius, size + 0.5 * radius, size=2)
    top, bottom = max(0, int(centre_y - radius) - 1), min(size, int(centre_y + radius) + 2)
    left, right = max(0, int(centre_x - radius) - 1), min(size, int(centre_x + radius) + 2)
    if top >= bottom or left >= right:
        return
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre_y)
    x = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre_x)
    turn = rng.uniform(0.0, 2.0 * math.pi)
    cosine, sine = np.float32(math.cos(turn)), np.float32(math.sin(turn))
    along, across = x * cosine + y * sine, y * cosine - x * sine
    if rng.random() < 0.5:
        mask = _ellipse(along, across, radius, float(rng.uniform(0.35, 1.0)))
    else:
        mask = _polygon(along, across, radius, rng)
    colour = palette[rng.integers(len(palette))] + rng.normal(0.0, 0.03, size=3).astype(np.float32)
    leaf = colour + _texture(along, across, radius, rng, fields, (top, bottom, left, right))[..., None]
    region = canvas[top:bottom, left:right]
    region += mask[..., None] * (leaf - region)


def _ellipse(
    along: NDArray[np.float32], across: NDArray[np.float32], radius: float, ratio: float
) -> NDArray[np.float32]:
    distance = np.sqrt(along**2 + (across / np.float32(ratio)) ** 2)
    return np.asarray(np.clip((np.float32(radius) - distance) * np.float32(ratio) + np.float32(0.5), 0.0, 1.0))


def _polygon(
    along: NDArray[np.float32], across: NDArray[np.float32], radius: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Convex polygon of three to six half planes."""
    sides = int(rng.integers(3, 7))
    angles = (np.arange(sides) + rng.uniform(-0.25, 0.25, size=sides)) * (2.0 * math.pi / sides)
    inside = np.full(along.shape, np.float32(radius))
    for angle, share in zip(angles, rng.uniform(0.45, 0.75, size=sides), strict=True):
        edge = along * np.float32(math.cos(angle)) + across * np.float32(math.sin(angle))
        np.minimum(inside, np.float32(radius * share) - edge, out=inside)
    return np.asarray(np.clip(inside + np.float32(0.5), 0.0, 1.0))


def _texture(
    along: NDArray[np.float32],
    across: NDArray[np.float32],
    radius: float,
    rng: np.random.Generator,
    fields: NDArray[np.float32],
    box: tuple[int, int, int, int],
) -> NDArray[np.float32]:
    """Brightness added over the leaf: a gradient always, stripes or noise or both in most."""
    texture = along * np.float32(rng.normal(0.0, 0.1) / radius)
    kind = rng.random()
    if kind < 0.3 and radius > 5.0:
        period = rng.uniform(2.5, max(3.0, min(16.0, radius)))
        wave = np.sin(across * np.float32(2.0 * math.pi / period) + np.float32(rng.uniform(0.0, 6.3)))
        sharpness = np.float32(rng.choice((1.0, 4.0)))  # sine, or nearly square bars
        texture = texture + np.float32(rng.uniform(0.03, 0.2)) * np.clip(wave * sharpness, -1.0, 1.0)
    if kind > 0.15:
        top, bottom, left, right = box
        field = fields[rng.integers(len(fields))][top:bottom, left:right]
        texture = texture + np.float32(rng.exponential(0.05)) * field
    return texture


def _power_noise(rng: np.random.Generator, size: int, exponent: float) -> NDArray[np.float32]:
    """Noise of zero mean, unit variance and amplitude spectrum f^-exponent."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(spectrum * frequency**-exponent, s=(size, size))
    return np.asarray(noise / noise.std(), dtype=np.float32)


def _lighting(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """A smooth illumination (size, size, 1) around one, brighter towards one side."""
    turn, depth = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.0, 0.25)
    ramp = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = ramp[:, None] * np.float32(math.sin(turn)) + ramp[None, :] * np.float32(math.cos(turn))
    return (1.0 + np.float32(depth) * slope)[..., None]


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Separable 5-tap Gaussian over the first two axes, edges repeated: the softness of a lens."""
    weights = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(2, 2) if index == axis else (0, 0) for index in range(3)]
        padded = np.pad(image, padding, mode="edge")
        length = image.shape[axis]
        shifted = [np.take(padded, np.arange(shift, shift + length), axis=axis) for shift in range(5)]
        image = sum((np.float32(w) * part for w, part in zip(weights, shifted, strict=True)), np.zeros_like(image))
    return image
