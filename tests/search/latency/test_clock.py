import time

import numpy as np
import pytest
import torch
from torch import nn

from export import export_onnx
from runtime import EngineError, StabilityRule, Target
from search.latency.clock import clock_for, time_graphs

ONE = Target("cpu", "onnxruntime", "fp32", 1)
QUICK = StabilityRule(warmup=1, min_runs=3, max_runs=4, max_seconds=0.1)


def test_one_thread_is_timed_by_what_it_computes_itself() -> None:
    assert clock_for(ONE).name == "cpu"
    assert clock_for(ONE).now is time.process_time


@pytest.mark.parametrize("target", [Target("cpu", "onnxruntime", "fp32", 2), Target("cuda", "tensorrt", "fp16", 1)])
def test_several_threads_and_other_devices_are_timed_by_the_wall(target: Target) -> None:
    assert clock_for(target).name == "wall"
    assert clock_for(target).now is time.perf_counter


def test_every_graph_is_timed() -> None:
    torch.manual_seed(0)
    graphs = {str(kernel): export_onnx(nn.Conv2d(3, 3, kernel, padding=kernel // 2)) for kernel in (1, 3, 5)}
    rounds: list[tuple[int, int]] = []
    timings = time_graphs(graphs, ONE, (16, 24), QUICK, on_round=lambda *done: rounds.append(done))
    assert list(timings) == ["1", "3", "5"]
    for timing in timings.values():
        assert np.isfinite(timing.ms)
        assert timing.ms > 0
        assert 1 <= timing.runs <= 4
    assert rounds[-1][1] == 0


def test_a_graph_that_does_not_run_is_an_error() -> None:
    with pytest.raises(EngineError):
        time_graphs({"broken": b"no onnx"}, ONE, (16, 16), QUICK)
