"""Distillation: a trained network's answers in place of the clean pictures."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.trainer import Batches


@dataclass(frozen=True)
class TaughtBatches:
    """Batches whose targets come from a teacher, as in the search of Trilevel NAS (Wu et al., 2021).

    Attributes:
        batches: Where the degraded patches come from; their clean ones only tell the shape.
        teacher: Maps degraded float32 (N, C, h, w) to restored (N, C, H, W), an engine's `run` for instance. The same
            patches must give the same answer every time, or a resumed run ends elsewhere.
    """

    batches: Batches
    teacher: Callable[[NDArray[np.float32]], NDArray[np.float32]] = field(repr=False)

    @property
    def num_versions(self) -> int:
        """As in `batches`."""
        return self.batches.num_versions

    def batch_at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(degraded, what the teacher makes of it), float32 NCHW.

        Raises:
            TrainingError: The teacher's output does not have the shape of the clean patches.
        """
        degraded, clean = self.batches.batch_at(step)
        taught = np.ascontiguousarray(self.teacher(degraded), dtype=np.float32)
        if taught.shape != clean.shape:
            raise TrainingError(
                f"the teacher makes {taught.shape} of {degraded.shape}, but {clean.shape} is needed; "
                "choose a teacher of the same task and scale"
            )
        return degraded, taught
