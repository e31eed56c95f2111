"""Scoring a restoring function on fixed pairs; knows nothing of how it restores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tasks.batches import ValidationPair
from tasks.task import Task

__all__ = ["Quality", "Restore", "evaluate"]

Restore = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""float32 (3, h, w) -> float32 (3, scale*h, scale*w) in [0, 1]."""


@dataclass(frozen=True)
class Quality:
    """Mean PSNR in dB over images, in the task's convention.

    Attributes:
        degraded_db: Of the baseline: the input itself, or its bicubic enlargement.
        restored_db: Of the restoring function.
        images: Pairs scored.
    """

    degraded_db: float
    restored_db: float
    images: int


def evaluate(task: Task, pairs: Sequence[ValidationPair], restore: Restore, label: str = "validating") -> Quality:
    """Restore every pair and average the scores.

    Args:
        task: Gives baseline and metric.
        pairs: At least one.
        restore: What is scored.
        label: Of the progress bar.
    """
    before, after = [], []
    for pair in tqdm(pairs, desc=label, unit="image", leave=False):
        before.append(task.psnr(task.baseline(pair.degraded), pair.clean))
        after.append(task.psnr(restore(pair.degraded), pair.clean))
    return Quality(float(np.mean(before)), float(np.mean(after)), len(pairs))
