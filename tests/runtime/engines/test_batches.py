import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from runtime.engines.batches import PerShape, Shape, check_batch
from runtime.errors import EngineError

A, B, C = (1, 3, 8, 8), (1, 3, 16, 8), (2, 3, 8, 8)


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((3, 8, 8), dtype=np.float32),
        np.zeros((1, 3, 8, 8), dtype=np.float64),
        np.zeros((0, 3, 8, 8), dtype=np.float32),
    ],
)
def test_what_is_no_batch_is_refused(batch: np.ndarray) -> None:
    with pytest.raises(EngineError, match=r"takes float32 of shape \(N, C, H, W\)"):
        check_batch(batch)
    assert check_batch(np.zeros(A, dtype=np.float32)) == A


def test_each_shape_is_built_once_and_the_least_used_goes() -> None:
    built: list[Shape] = []

    def build(shape: Shape) -> str:
        built.append(shape)
        return f"engine {shape}"

    engines = PerShape(build, kept=2)
    for shape in (A, B, A, A, B):
        assert engines[shape] == f"engine {shape}"
    assert built == [A, B]
    engines[A], engines[C]  # B was used least recently
    assert built == [A, B, C]
    assert engines[A] == f"engine {A}"
    assert built == [A, B, C]
    assert engines[B] == f"engine {B}"
    assert built == [A, B, C, B]


def test_a_build_that_failed_is_tried_again() -> None:
    attempts = iter([EngineError("no memory"), None])

    def build(shape: Shape) -> Shape:
        if (error := next(attempts)) is not None:
            raise error
        return shape

    engines = PerShape(build)
    with pytest.raises(EngineError, match="no memory"):
        engines[A]
    assert engines[A] == A


def test_threads_do_not_build_twice() -> None:
    together, built = threading.Barrier(4), []

    def build(shape: Shape) -> Shape:
        built.append(shape)
        return shape

    engines = PerShape(build)

    def ask(shape: Shape) -> Shape:
        together.wait()
        return engines[shape]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, [A] * 4)) == [A] * 4
    assert built == [A]
