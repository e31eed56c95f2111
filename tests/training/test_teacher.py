from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tasks import BatchStream, Sample, dead_leaves, get_task, imresize
from training import TaughtBatches, TrainingError
from training.trainer import to_tensors

Array = NDArray[np.float32]


def stream(*, scale: int | None = None, versions: bool = False) -> BatchStream:
    samples = tuple(Sample(f"s/{i}", dead_leaves(np.random.default_rng(i), 64)) for i in range(3))
    return BatchStream(get_task("super-resolution" if scale else "derain", scale), samples, 12, 2, 1, versions)


def test_the_teacher_answers_in_place_of_the_clean_patches() -> None:
    seen: list[Array] = []

    def teacher(degraded: Array) -> Array:
        seen.append(degraded)
        return np.clip(imresize(degraded, 2.0), 0, 1)

    plain = stream(scale=2)
    taught = TaughtBatches(plain, teacher)
    degraded, target = taught.batch_at(5)
    expected_degraded, clean = plain.batch_at(5)
    np.testing.assert_array_equal(degraded, expected_degraded)
    np.testing.assert_array_equal(seen[0], expected_degraded)
    np.testing.assert_array_equal(target, np.clip(imresize(degraded, 2.0), 0, 1))
    assert not np.array_equal(target, clean)


def test_versions_are_passed_on() -> None:
    assert TaughtBatches(stream(), np.negative).num_versions == 1
    assert TaughtBatches(stream(versions=True), np.negative).num_versions == 3


@dataclass
class Awkward:
    """Answers as an engine might: float64, or a reversed view."""

    kind: str

    def __call__(self, degraded: Array) -> Array:
        return degraded.astype(np.float64) if self.kind == "double" else degraded[:, ::-1]  # type: ignore[return-value]


@pytest.mark.parametrize("kind", ["double", "view"])
def test_answers_can_go_straight_to_torch(kind: str) -> None:
    degraded, target = to_tensors(TaughtBatches(stream(), Awkward(kind)).batch_at(0), torch.device("cpu"))
    assert target.dtype == torch.float32
    assert torch.equal(target, degraded if kind == "double" else degraded.flip(1))


def test_a_teacher_of_another_scale_is_refused() -> None:
    same_size = TaughtBatches(stream(scale=2), lambda degraded: degraded)
    with pytest.raises(
        TrainingError, match=r"makes \(2, 3, 12, 12\) .* but \(2, 3, 24, 24\) is needed; choose a teach"
    ):
        same_size.batch_at(0)
