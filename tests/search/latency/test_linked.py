"""Yardsticks take a sitting back to what an earlier one would have measured."""

import pytest
import torch
from torch import nn

import search.latency.linked
from export import export_onnx
from runtime import AnchorTiming, StabilityRule, Target, Timing
from search.latency.linked import Yardstick, time_linked
from search.latency.stopwatch import Subject

ONE = Target("cpu", "onnxruntime", "fp32", 1)
QUICK = StabilityRule(warmup=0, min_runs=3, max_runs=3, max_seconds=0.1)
ANCHOR = AnchorTiming(ms=2.0, median_ms=2.0, runs=9)


def subject(name: str, kernel: int = 1) -> Subject:
    torch.manual_seed(0)
    return Subject(name, export_onnx(nn.Conv2d(3, 3, kernel, padding=kernel // 2)), (32, 32))


def sitting(monkeypatch: pytest.MonkeyPatch, slower: float) -> list[str]:
    """A sitting in which everything but the anchor is slower; the truth is 1, 2, 3, ... by place."""
    asked: list[str] = []

    def planted(subjects: list[Subject], *_: object, **__: object) -> tuple[dict[str, Timing], AnchorTiming]:
        asked.extend(subject.id for subject in subjects)
        return {
            s.id: Timing(ratio=slower * (1 + n), error=0.03, raw_ms=1.0, spread=0.0, runs=3, stable=True)
            for n, s in enumerate(subjects)
        }, ANCHOR

    monkeypatch.setattr(search.latency.linked, "time_graphs", planted)
    return asked


@pytest.mark.parametrize("slower", [0.8, 1.0, 1.3])
def test_what_slows_yardsticks_and_subjects_alike_cancels(monkeypatch: pytest.MonkeyPatch, slower: float) -> None:
    asked = sitting(monkeypatch, slower)
    known = [Yardstick(subject("known"), 3.0), Yardstick(subject("other"), 4.0)]
    timings, anchor = time_linked([subject("a"), subject("b")], known, ONE, QUICK)
    assert asked == ["a", "b", "yardstick/0", "yardstick/1"]
    assert list(timings) == ["a", "b"]
    assert timings["a"].ratio == pytest.approx(1.0)
    assert timings["b"].ratio == pytest.approx(2.0)
    # The yardsticks' own noise is part of the result's.
    assert timings["a"].error == pytest.approx((0.03**2 + 2 * 0.03**2 / 4) ** 0.5)
    assert anchor == ANCHOR


def test_without_yardsticks_the_sitting_stands_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault of the test above."""
    sitting(monkeypatch, 1.3)
    timings, _ = time_linked([subject("a")], [], ONE, QUICK)
    assert timings["a"].ratio == pytest.approx(1.3)
    assert timings["a"].error == 0.03


def test_with_the_real_engine_a_graph_linked_to_itself_is_what_it_was() -> None:
    timings, _ = time_linked([subject("a", 3)], [Yardstick(subject("a", 3), 5.0)], ONE, QUICK)
    assert 1.0 < timings["a"].ratio < 25.0  # within a factor of five of a yardstick that is the same graph
