"""The one way to restore a picture: the command line, the verification and the service all call this."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.auto import AUTO, choose_target
from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.errors import EngineError, FallbackWarning
from runtime.picture import Picture
from runtime.target import Target
from runtime.tiles import run_tiled

__all__ = ["Restorer"]

FloatArray = NDArray[np.float32]

# Luma of BT.601, what Pillow uses from RGB to L as well.
_LUMA = np.asarray([0.299, 0.587, 0.114], dtype=np.float32)


class Restorer:
    """A bundle on a target. Its methods may be called from several threads at once.

    Args:
        bundle: The bundle the engine was opened from.
        engine: The engine; use `Restorer.load` to have it opened.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._bundle = bundle
        self._engine = engine

    @classmethod
    def load(cls, bundle: Bundle | Path | str, target: Target | str = AUTO) -> "Restorer":
        """Open a bundle on a target.

        Args:
            bundle: A bundle, or the folder of one.
            target: A target or its slug, which is used or refused; or `auto`, the fastest that the bundle knows and
                this machine has (see `choose_target`).

        Raises:
            BundleError: If the bundle is not sound, or has no file in the precision of the target.
            TargetError: If the target does not exist or is not available here, or, for `auto`, none is.
            EngineError: If the engine refuses the model.

        Warns:
            FallbackWarning: If `auto` is not what the bundle records as its fastest target.
        """
        named = Target.parse(target) if isinstance(target, str) and target != AUTO else target
        what = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        where = named if isinstance(named, Target) else _choose(what)
        where.check_available()
        return cls(what, open_engine(what.model_path(where.precision), where, what.engine_for(where)))

    @property
    def bundle(self) -> Bundle:
        """What is restored with."""
        return self._bundle

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._engine.target

    def restore(self, picture: Picture, checkpoint: Callable[[], None] | None = None) -> Picture:
        """Restore a picture of any size.

        A gray picture stays gray. Alpha is kept, or resized for super-resolution; colours nobody can see, those under
        an alpha of zero, have no influence on the others.

        Args:
            picture: At least 1x1 pixels.
            checkpoint: Called before each tile; what it raises ends the work and is passed on.

        Returns:
            A picture `scale` times as high and wide, with the same colour profile.

        Raises:
            EngineError: If the model's output is not usable.
        """
        rgb, alpha = picture.rgb, picture.alpha
        if alpha is not None:
            rgb = _fill_invisible(rgb, alpha)
            alpha = _resize_alpha(alpha, self._bundle.manifest.scale)
        restored = self.restore_array(rgb, checkpoint)
        if picture.gray:
            restored = np.repeat(np.tensordot(_LUMA, restored, axes=1)[None], 3, axis=0).clip(0.0, 1.0)
        return Picture(rgb=restored, alpha=alpha, gray=picture.gray, icc=picture.icc)

    def restore_array(self, image: FloatArray, checkpoint: Callable[[], None] | None = None) -> FloatArray:
        """Restore the colours of a picture of any size.

        Args:
            image: float32 (3, H, W), RGB in [0, 1].
            checkpoint: Called before each tile; what it raises ends the work and is passed on.

        Returns:
            float32 (3, scale*H, scale*W), clipped to [0, 1].

        Raises:
            ImageError: If `image` is not float32 (3, H, W).
            EngineError: If the output has the wrong shape, or a value in it is infinite or not a number.
        """
        Picture(rgb=image)  # checks shape and dtype
        restored = run_tiled(image, self._bundle.manifest.size, self._engine.run, checkpoint)
        if restored.shape[0] != 3:
            raise EngineError(f"The model of '{self._bundle.manifest.name}' gave {restored.shape[0]} channels, not 3.")
        if not np.isfinite(restored).all():
            raise EngineError(
                f"The model of '{self._bundle.manifest.name}' gave values that are not numbers on {self.target.slug}."
            )
        return np.clip(restored, 0.0, 1.0)


def _choose(bundle: Bundle) -> Target:
    choice = choose_target(bundle)
    if choice.fallback:
        warnings.warn(FallbackWarning(choice.why), stacklevel=3)
    return choice.target


def _resize_alpha(alpha: FloatArray, scale: int) -> FloatArray:
    if scale == 1:
        return alpha
    height, width = alpha.shape
    resized = Image.fromarray(alpha).resize((scale * width, scale * height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(resized, dtype=np.float32), 0.0, 1.0)


def _fill_invisible(rgb: FloatArray, alpha: FloatArray) -> FloatArray:
    """Replace colours under an alpha of zero by a continuation of the visible ones around them.

    Averages over 2x2, weighted by alpha, are taken until a single pixel is left (pull), then each level takes from the
    next coarser one what it lacks (push).
    """
    if alpha.all():
        return rgb
    levels = [(rgb * alpha, alpha)]
    while max(levels[-1][1].shape) > 1:
        colors, weights = levels[-1]
        levels.append((_halve(colors), _halve(weights)))
    filled = np.zeros((3, 1, 1), dtype=np.float32)
    for colors, weights in reversed(levels):
        height, width = weights.shape
        coarse = filled.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
        filled = np.where(weights > 0, colors / np.maximum(weights, np.finfo(np.float32).tiny), coarse)
    return np.where(alpha > 0, rgb, filled)


def _halve(values: FloatArray) -> FloatArray:
    """Sums over 2x2 of the last two axes, an odd row or column alone, scaled down so that they cannot grow."""
    rows, columns = values.shape[-2:]
    padded = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, rows % 2), (0, columns % 2)])
    quarter = np.float32(0.25)
    return np.asarray(
        quarter * (padded[..., ::2, ::2] + padded[..., 1::2, ::2] + padded[..., ::2, 1::2] + padded[..., 1::2, 1::2]),
        dtype=np.float32,
    )
