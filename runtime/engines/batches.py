"""What engines built for one shape at a time share: the check of a batch, and what was built, shape by shape."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.errors import EngineError

__all__ = ["PerShape", "Shape", "check_batch"]

Shape = tuple[int, int, int, int]
"""(N, C, H, W)"""

Built = TypeVar("Built")

_KEPT = 8


def check_batch(batch: NDArray[np.float32]) -> Shape:
    """The shape of a batch.

    Raises:
        EngineError: If it is not float32 (N, C, H, W), or is empty.
    """
    if batch.ndim != 4 or batch.dtype != np.float32 or batch.size == 0:
        raise EngineError(f"An engine takes float32 of shape (N, C, H, W), got {batch.dtype} {batch.shape}.")
    batches, channels, height, width = batch.shape
    return batches, channels, height, width


class PerShape(Generic[Built]):
    """Builds something for a shape when it is first asked for and keeps the ones used last. Safe between threads.

    Args:
        build: Makes one for (N, C, H, W); may take long and may raise, then nothing is kept.
        kept: How many to keep; each holds memory of the device.
    """

    def __init__(self, build: Callable[[Shape], Built], kept: int = _KEPT) -> None:
        self._build = build
        self._limit = kept
        self._built: OrderedDict[Shape, Built] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, shape: Shape) -> Built:
        with self._lock:
            if shape not in self._built:
                # Room first: what is dropped frees its memory before the new one takes its own.
                while len(self._built) >= self._limit:
                    self._built.popitem(last=False)
                self._built[shape] = self._build(shape)
            self._built.move_to_end(shape)
            return self._built[shape]
