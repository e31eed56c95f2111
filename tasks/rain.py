"""Synthetic rain: layers of motion-blurred streaks laid over a clean image.

A streak layer is a sparse set of drops convolved with short blurred lines, as rain integrates over the exposure time
(Garg & Nayar 2006). Drops of one layer share a wind direction but not their exact length, width or brightness. Layers
are made on a torus, so that any crop, shift or tiling of one has no seam; a `RainBank` exploits that to give training
patches their rain at the cost of a few additions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tasks.errors import TaskError

__all__ = ["RAIN_PRESETS", "RainBank", "RainParameters", "add_rain", "rain_bank", "rain_layer"]

Range = tuple[float, float]

# Groups of streaks within a layer: each has its own length, width and a slightly different angle.
_GROUPS = 3
_ANGLE_JITTER_DEGREES = 2.0


@dataclass(frozen=True)
class RainParameters:
    """Ranges from which rain is drawn, each uniform between its two ends.

    A layer has a distance: near ones get the long, wide end of the ranges and few drops, far ones the opposite.

    Attributes:
        layers: how many streak layers lie over each other (both ends included).
        drops: drops per 10 000 pixels in one layer.
        length: streak length in pixels.
        width: Gaussian sigma across the streak, in pixels.
        angle: wind, as the angle from the vertical in degrees; the layers of one image share it but for a few degrees.
        strength: what the brightest streak of a layer adds, 1 being white.
        veil: brightness of the mist of rain too far away to be seen as streaks.
        screen: probability that a layer is blended by screening instead of addition.
    """

    layers: tuple[int, int]
    drops: Range
    length: Range
    width: Range
    angle: Range
    strength: Range
    veil: Range
    screen: float = 0.5


RAIN_PRESETS: Mapping[str, RainParameters] = MappingProxyType(
    {
        "light": RainParameters(
            layers=(1, 2),
            drops=(6, 30),
            length=(9, 38),
            width=(0.5, 1.0),
            angle=(-30, 30),
            strength=(0.25, 0.7),
            veil=(0, 0),
        ),
        "medium": RainParameters(
            layers=(1, 3),
            drops=(12, 45),
            length=(9, 48),
            width=(0.5, 1.2),
            angle=(-40, 40),
            strength=(0.25, 0.7),
            veil=(0, 0.06),
        ),
        "heavy": RainParameters(
            layers=(2, 4),
            drops=(20, 65),
            length=(10, 60),
            width=(0.5, 1.6),
            angle=(-45, 45),
            strength=(0.3, 0.75),
            veil=(0.02, 0.14),
        ),
    }
)


@dataclass(frozen=True, eq=False)
class RainBank:
    """Streak layers made once for one set of parameters; patches take shifted crops of them.

    Attributes:
        parameters: what the layers were drawn from.
        textures: float32 (count, size, size) in [0, 1], read-only, periodic in both directions, in order of wind.
    """

    parameters: RainParameters
    textures: NDArray[np.float32]

    def layer(self, rng: np.random.Generator, height: int, width: int, wind: float) -> NDArray[np.float32]:
        """A random crop (height, width) of a texture of about this wind (0..1, see `rain_layer`)."""
        count, size, _ = self.textures.shape
        texture = self.textures[min(max(int(wind * count + rng.normal(0.0, 0.7)), 0), count - 1)]
        top, left = (int(value) for value in rng.integers(size, size=2))
        if top + height <= size and left + width <= size:
            crop = texture[top : top + height, left : left + width]
        else:
            rows, columns = np.arange(top, top + height) % size, np.arange(left, left + width) % size
            crop = texture[rows[:, None], columns[None, :]]
        # Half a turn keeps the wind; a mirror would reverse it.
        return np.asarray(crop[::-1, ::-1] if rng.random() < 0.5 else crop)


# Pure function of its arguments; a training stream asks for the same bank at every step.
@lru_cache(maxsize=12)
def rain_bank(parameters: RainParameters, seed: int, *, count: int = 32, size: int = 256) -> RainBank:
    """Draw a bank of ``count`` periodic streak textures of ``size`` x ``size`` pixels over the whole range of wind."""
    rng = np.random.default_rng([seed, count, size])
    winds = (np.arange(count) + 0.5) / count
    textures = np.stack([rain_layer(rng, size, size, parameters, wind=float(wind)) for wind in winds])
    textures.setflags(write=False)
    return RainBank(parameters, textures)


def rain_layer(
    rng: np.random.Generator, height: int, width: int, parameters: RainParameters, *, wind: float | None = None
) -> NDArray[np.float32]:
    """One layer of streaks.

    Args:
        rng: source of everything random.
        height: rows, at least 1.
        width: columns, at least 1.
        parameters: the ranges the layer is drawn from.
        wind: where the angle lies in its range, 0..1; drawn if None.

    Returns:
        float32 (height, width) in [0, 1], 1 being the middle of the brightest streak; periodic in both directions.

    Raises:
        TaskError: the size is below 1x1.
    """
    if height < 1 or width < 1:
        raise TaskError(f"a rain layer needs a size of at least 1x1, got {height}x{width}")
    near = rng.random()
    angle = _between(parameters.angle, rng.random() if wind is None else wind)
    drops = _between(parameters.drops, 1.0 - near) * height * width / 10_000 / _GROUPS
    spectrum = np.zeros((height, width // 2 + 1), dtype=np.complex128)
    for _ in range(_GROUPS):
        count = max(1, rng.poisson(drops))
        seeds = np.zeros((height, width))
        # Many faint drops, few bright ones: most are out of focus or far behind.
        brightness = 0.15 + 0.85 * rng.random(count) ** 2
        seeds[rng.integers(height, size=count), rng.integers(width, size=count)] = brightness
        kernel = _streak(
            height,
            width,
            angle=math.radians(angle + rng.normal(0.0, _ANGLE_JITTER_DEGREES)),
            length=_between(parameters.length, near) * rng.uniform(0.7, 1.3),
            sigma=_between(parameters.width, near) * rng.uniform(0.8, 1.25),
        )
        spectrum += np.fft.rfft2(seeds) * np.fft.rfft2(kernel)
    layer = np.fft.irfft2(spectrum, s=(height, width))
    return np.asarray(np.clip(layer, 0.0, 1.0), dtype=np.float32)


def _between(ends: Range, place: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * place


def _streak(height: int, width: int, *, angle: float, length: float, sigma: float) -> NDArray[np.float64]:
    """One streak of peak 1 centred on pixel (0, 0) of a torus: Gaussian across, flat with soft ends along."""
    reach = math.ceil(length / 2 + 4 * sigma)
    offsets = np.arange(-reach, reach + 1)
    y, x = offsets[:, None], offsets[None, :]
    along = y * math.cos(angle) + x * math.sin(angle)
    across = x * math.cos(angle) - y * math.sin(angle)
    fade = max(1.0, 0.5 * length)  # a drop enters and leaves focus gradually
    profile = np.exp(-0.5 * (across / sigma) ** 2) * np.clip((length / 2 - np.abs(along)) / fade + 0.5, 0.0, 1.0)
    kernel = np.zeros((height, width))
    np.add.at(kernel, (y % height, x % width), profile)
    return kernel


def add_rain(
    clean: NDArray[np.float32],
    rng: np.random.Generator,
    parameters: RainParameters,
    *,
    bank: RainBank | None = None,
) -> NDArray[np.float32]:
    """Lay rain over a clean image. Rain only adds light: no pixel gets darker.

    Args:
        clean: float32 (3, H, W), range [0, 1].
        rng: source of everything random.
        parameters: the ranges rain is drawn from.
        bank: take streak layers from here (fast, for patches) instead of drawing new ones of the image's size.

    Returns:
        float32 (3, H, W) in [0, 1].

    Raises:
        TaskError: the image is not (3, H, W).
    """
    if clean.ndim != 3 or clean.shape[0] != 3:
        raise TaskError(f"rain falls on RGB images of shape (3, H, W), got {clean.shape}")
    height, width = clean.shape[1:]
    # Drops scatter the sky's light: near white, a little bluish or reddish.
    tint = (1.0 - rng.uniform(0.0, 0.06, size=(3, 1, 1))).astype(np.float32)
    rainy = clean.astype(np.float32, copy=True)
    veil = rng.uniform(*parameters.veil)
    if veil > 0:
        rainy += np.float32(veil) * tint * (1.0 - rainy)
    wind = rng.random()
    for _ in range(rng.integers(parameters.layers[0], parameters.layers[1] + 1)):
        if bank is None:
            layer = rain_layer(rng, height, width, parameters, wind=wind)
        else:
            layer = bank.layer(rng, height, width, wind)
        streaks = layer * (tint * np.float32(rng.uniform(*parameters.strength)))
        if rng.random() < parameters.screen:
            streaks *= 1.0 - rainy
        rainy += streaks
        np.minimum(rainy, 1.0, out=rainy)
    return rainy
