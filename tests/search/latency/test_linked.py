"""Yardsticks take a sitting back to what an earlier one would have measured."""

import pytest
import torch
from torch import nn

from export import export_onnx
from runtime import StabilityRule, Target, Timing
from search.latency.linked import Yardstick, rescaled, time_linked
from search.latency.stopwatch import Subject

ONE = Target("cpu", "onnxruntime", "fp32", 1)
QUICK = StabilityRule(warmup=0, min_runs=3, max_runs=3, max_seconds=5.0)


def subject(name: str, kernel: int = 1) -> Subject:
    torch.manual_seed(0)
    return Subject(name, export_onnx(nn.Conv2d(3, 3, kernel, padding=kernel // 2)), (32, 32))


def timing(ratio: float) -> Timing:
    return Timing(ratio=ratio, error=0.03, raw_ms=1.0, spread=0.0, runs=3, stable=True)


@pytest.mark.parametrize("slower", [0.8, 1.0, 1.3])
def test_what_slows_yardsticks_and_subjects_alike_cancels(slower: float) -> None:
    """A sitting in which everything but the anchor is slower; the truth is 1, 2 and for the yardsticks 3, 4."""
    again = [(timing(3.0 * slower), 3.0), (timing(4.0 * slower), 4.0)]
    found = rescaled({"a": timing(slower), "b": timing(2.0 * slower)}, again)
    assert list(found) == ["a", "b"]
    assert found["a"].ratio == pytest.approx(1.0)
    assert found["b"].ratio == pytest.approx(2.0)
    # The yardsticks' own noise is part of the result's.
    assert found["a"].error == pytest.approx((0.03**2 + 2 * 0.03**2 / 4) ** 0.5)


def test_without_yardsticks_the_sitting_stands_as_it_is() -> None:
    """The planted fault of the test above."""
    found = rescaled({"a": timing(1.3)}, [])
    assert found == {"a": timing(1.3)}


def test_yardsticks_run_beside_the_subjects_and_do_not_come_back() -> None:
    rounds: list[tuple[int, int]] = []
    timings, anchor = time_linked(
        [subject("a"), subject("b")], [Yardstick(subject("a"), 3.0), Yardstick(subject("b"), 4.0)], ONE, QUICK,
        on_round=lambda *done: rounds.append(done),
    )  # fmt: skip
    assert list(timings) == ["a", "b"]
    assert max(waiting for _, waiting in rounds) <= 4
    assert anchor.runs > 4 * QUICK.min_runs  # one between any two runs of four graphs, three runs each


def test_with_the_real_engine_a_graph_linked_to_itself_is_what_it_was() -> None:
    timings, _ = time_linked([subject("a", 3)], [Yardstick(subject("a", 3), 5.0)], ONE, QUICK)
    assert 1.0 < timings["a"].ratio < 25.0  # within a factor of five of a yardstick that is the same graph
