"""The one way to restore a picture: the command line, the verification and the service all call this."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.auto import AUTO, choose_target
from runtime.bundle import Bundle
from runtime.engine import Engine, open_engine
from runtime.errors import EngineError, FallbackWarning, ImageError
from runtime.picture import Picture
from runtime.restoration import TiledRestoration
from runtime.stitch import run_tiled
from runtime.target import Target

__all__ = ["Restorer"]

FloatArray = NDArray[np.float32]


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

    def begin(self, picture: Picture) -> TiledRestoration:
        """The tiles of a picture, to be run by `run`: for those who order the work themselves, as the service does."""
        return TiledRestoration(picture, self._bundle.manifest.size, self._source)

    def run(self, batch: FloatArray) -> FloatArray:
        """Run the network over tiles of one shape.

        Args:
            batch: float32 (N, 3, h, w), of sizes the manifest allows.

        Returns:
            float32 (N, 3, scale*h, scale*w), neither checked nor clipped; `TiledRestoration.put` does that.

        Raises:
            EngineError: If the engine fails.
        """
        return self._engine.run(batch)

    def restore(self, picture: Picture, checkpoint: Callable[[], None] | None = None) -> Picture:
        """Restore a picture of any size; see `TiledRestoration` for gray, alpha and memory.

        Args:
            picture: At least 1x1 pixels.
            checkpoint: Called before each tile; what it raises ends the work and is passed on.

        Returns:
            A picture `scale` times as high and wide, with the same depth, colour profile and EXIF.

        Raises:
            EngineError: If the model's output is not usable.
        """
        restoration = self.begin(picture)
        for index in range(len(restoration.tiles)):
            if checkpoint is not None:
                checkpoint()
            restoration.put(index, self.run(restoration.cut(index))[0])
        return restoration.result()

    def restore_array(self, image: FloatArray, checkpoint: Callable[[], None] | None = None) -> FloatArray:
        """Restore the colours of a picture of any size in floats, without rounding: for measuring.

        Args:
            image: float32 (3, H, W), RGB in [0, 1].
            checkpoint: Called before each tile; what it raises ends the work and is passed on.

        Returns:
            float32 (3, scale*H, scale*W), clipped to [0, 1].

        Raises:
            ImageError: If `image` is not float32 (3, H, W).
            EngineError: If the output has the wrong shape, or a value in it is infinite or not a number.
        """
        if image.ndim != 3 or image.shape[0] != 3:
            raise ImageError(
                f"The colours of a picture are float32 of shape (3, H, W), got {image.dtype} {image.shape}.",
                code="bad_array",
                status=422,
            )
        restored = run_tiled(image, self._bundle.manifest.size, self.run, checkpoint)
        if restored.shape[0] != 3:
            raise EngineError(f"{self._source} gave {restored.shape[0]} channels, not 3.")
        if not np.isfinite(restored).all():
            raise EngineError(f"{self._source} gave values that are not numbers.")
        return np.clip(restored, 0.0, 1.0)

    @property
    def _source(self) -> str:
        return f"The model of '{self._bundle.manifest.name}' on {self.target.slug}"


def _choose(bundle: Bundle) -> Target:
    choice = choose_target(bundle)
    if choice.fallback:
        warnings.warn(FallbackWarning(choice.why), stacklevel=3)
    return choice.target
