"""Images that int8 is calibrated on: degraded training patches, never the ones that the gate looks at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.batches import BatchStream
from tasks.sources import Sample
from tasks.task import Task

PATCHES = 32
SIDE = 128
"""Of the degraded patch in pixels; less where half of the pictures are smaller."""
_SEED = 20_260_401


def calibration_patches(
    task: Task, samples: Sequence[Sample], multiple: int, count: int = PATCHES, side: int = SIDE
) -> list[NDArray[np.float32]]:
    """Degraded patches of training images; the same arguments always give the same ones.

    Args:
        task: Degrades them.
        samples: Training images.
        multiple: Sides are multiples of this.
        count: How many.
        side: At most so many pixels; less where the images are small.

    Returns:
        float32 (1, 3, side, side) each.

    Raises:
        TaskError: There are no images, or one that brings its degraded version does not fit the task.
    """
    # At least half of the pictures take part: a data set of mixed sizes must not be stood for by its largest ones.
    sides = sorted(min(sample.clean.shape[:2]) // task.scale for sample in samples)
    fitting = sides[len(sides) // 2] if sides else side
    patch = max(multiple, min(side, fitting) // multiple * multiple)
    stream = BatchStream(task, tuple(samples), patch=patch, batch=1, seed=_SEED)
    return [stream.batch_at(step)[0] for step in range(count)]
