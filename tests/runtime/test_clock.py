import time

import pytest

from runtime.clock import clock_for, repeated
from runtime.errors import EngineError
from runtime.target import TARGETS, Target


class FakeWork:
    """Takes a planted time per run, read from a clock that moves in steps; the first run takes longer."""

    def __init__(self, seconds: float, step: float = 0.0, first: float = 0.0) -> None:
        self.seconds, self.step, self.first = seconds, step, first
        self.calls: list[int] = []

    def __call__(self, runs: int) -> float:
        self.calls.append(runs)
        total = runs * self.seconds + (self.first if len(self.calls) == 1 else 0.0)
        return total if self.step == 0 else total // self.step * self.step


@pytest.mark.parametrize(
    ("slug", "name"),
    [
        ("cpu-onnxruntime-fp32-1t", "cpu"),
        ("cpu-onnxruntime-fp32-2t", "wall"),
        ("cpu-openvino-int8-1t", "cpu"),
        ("cpu-openvino-int8-2t", "wall"),
        ("intelgpu-openvino-fp16", "wall"),
        ("cuda-onnxruntime-fp32", "wall"),
        ("cuda-onnxruntime-fp16", "wall"),
        ("cuda-tensorrt-fp32", "device"),
        ("cuda-tensorrt-fp16", "device"),
        ("cuda-tensorrtrtx-fp16", "device"),
    ],
)
def test_each_target_has_its_clock(slug: str, name: str) -> None:
    assert clock_for(Target.parse(slug)).name == name


@pytest.mark.parametrize("slug", TARGETS)
def test_no_target_on_a_gpu_is_timed_by_the_processor(slug: str) -> None:
    """The processor's time says nothing of what a GPU does meanwhile."""
    for threads in (1, 2):
        target = Target.parse(slug)
        name = clock_for(target if target.on_gpu else Target.parse(f"{slug}-{threads}t")).name
        assert (name == "cpu") == (not target.on_gpu and threads == 1)


def test_the_clocks_of_this_host_are_those_of_the_system() -> None:
    assert clock_for(Target.parse("cpu-onnxruntime-fp32-1t")).now is time.process_time
    assert clock_for(Target.parse("cuda-onnxruntime-fp32")).now is time.perf_counter


def test_a_device_is_not_timed_by_this_host() -> None:
    with pytest.raises(EngineError, match="use the timer of its engine"):
        clock_for(Target.parse("cuda-tensorrt-fp16")).now()


@pytest.mark.parametrize("seconds", [3e-7, 2e-5, 4e-4, 9.9e-4, 2e-3, 0.5])
def test_short_work_is_repeated_until_the_clock_can_see_it(seconds: float) -> None:
    work = FakeWork(seconds, first=10.0)
    once = repeated(work)
    assert once() == pytest.approx(seconds)
    runs = work.calls[-1]
    assert runs * seconds >= 1e-3
    assert runs == 1 or (runs - 1) * seconds < 1e-3 * 12, "more repeats than needed"
    assert once() == pytest.approx(seconds)
    assert work.calls[-1] == runs, "the number of runs changed between two calls"


def test_without_repeats_a_coarse_clock_would_see_nothing() -> None:
    """The planted fault: one run per call is rounded to zero by a clock of half a millisecond."""
    coarse = FakeWork(2e-5, step=5e-4)
    assert coarse(1) == 0.0
    assert repeated(coarse, at_least=5e-3)() == pytest.approx(2e-5, rel=0.1)


def test_a_clock_that_stands_still_is_an_error() -> None:
    with pytest.raises(EngineError, match="cannot be used"):
        repeated(lambda _: 0.0)
