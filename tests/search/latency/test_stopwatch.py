import numpy as np
import pytest
import torch
from torch import nn

from export import export_onnx
from runtime import EngineError, StabilityRule, Target, Timing
from search.latency.stopwatch import Subject, anchor, measured, time_graphs

ONE = Target("cpu", "onnxruntime", "fp32", 1)
QUICK = StabilityRule(warmup=1, min_runs=3, max_runs=4, max_seconds=0.1)


def convolution(kernel: int) -> bytes:
    torch.manual_seed(0)
    return export_onnx(nn.Conv2d(3, 3, kernel, padding=kernel // 2))


def test_every_graph_is_timed_at_its_own_size() -> None:
    subjects = [Subject(str(kernel), convolution(kernel), (16, 24 * kernel)) for kernel in (1, 3, 5)]
    rounds: list[tuple[int, int]] = []
    timings, anchored = time_graphs(subjects, ONE, QUICK, on_round=lambda *done: rounds.append(done))
    assert list(timings) == ["1", "3", "5"]
    for timing in timings.values():
        assert np.isfinite(timing.ratio)
        assert timing.ratio > 0
        assert 1 <= timing.runs <= 4
    assert rounds[-1][1] == 0
    assert anchored.ms > 0


def test_a_graph_that_does_not_run_is_an_error() -> None:
    with pytest.raises(EngineError):
        time_graphs([Subject("broken", b"no onnx", (16, 16))], ONE, QUICK)


def test_two_subjects_of_one_name_are_an_error() -> None:
    with pytest.raises(ValueError, match="share an id"):
        time_graphs([Subject("a", convolution(1), (16, 16)), Subject("a", convolution(3), (16, 16))], ONE, QUICK)


def test_the_anchor_is_the_same_graph_every_time_and_for_every_table() -> None:
    torch.manual_seed(1)
    first = anchor(ONE)
    torch.manual_seed(2)
    assert anchor(ONE) == first
    assert anchor(Target("cpu", "onnxruntime", "fp32", 7)) == first


def test_a_timing_becomes_an_entry_in_the_terms_of_the_table() -> None:
    subject = Subject("net", convolution(3), (16, 16))
    timing = Timing(ratio=3.0, error=0.01, raw_ms=9.9, spread=0.1, runs=8, stable=True)
    entry = measured(subject, timing, anchor_ms=2.0, session=1)
    assert entry.ms == pytest.approx(6.0)
    assert (entry.id, entry.raw_ms, entry.session) == ("net", 9.9, 1)
    assert entry.graph == subject.hash
    assert entry.graph != Subject("net", convolution(5), (16, 16)).hash
