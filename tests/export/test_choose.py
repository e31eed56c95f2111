"""The default is the simplest target that none is faster than; and what is timed fits into memory."""

from pathlib import Path

import pytest

from export import Candidate, choose_default, time_candidates
from export.choose import MOST_PIXELS, RULES, Timed
from runtime import SpeedRecord, StabilityRule, Target
from tests.export.subjects import make_subject, tiny_network

ORT, VINO = "cpu-onnxruntime-fp32-1t", "cpu-openvino-fp32-1t"
ORT8, VINO8 = "cpu-onnxruntime-int8-1t", "cpu-openvino-int8-1t"
PROMISED = "cpu-onnxruntime-fp32"


def timed(slug: str, ms: float, error: float = 0.002, batch: int = 1) -> Timed:
    record = SpeedRecord(
        target=slug, device="d", engine_version="e 1", batch=batch, height=32, width=32, ms=ms, spread=0.1, date="d"
    )
    return Timed(record, error)


def choose(*entries: Timed, lost: float = 0.031, promised: str = PROMISED) -> tuple[str, str]:
    slugs = dict.fromkeys(entry.record.target for entry in entries)
    found = choose_default(entries, [Candidate(Target.parse(slug), b"", lost) for slug in slugs], promised)
    return found.kind, found.reason


def test_the_fastest_is_chosen_and_it_is_said_why() -> None:
    assert choose(timed(ORT, 24.0), timed(VINO, 20.0), timed(ORT8, 15.0), timed(VINO8, 10.0)) == (
        "cpu-openvino-int8", "2.4 times faster than cpu-onnxruntime-fp32 at 0.031 dB lost",
    )  # fmt: skip


def test_what_is_not_faster_is_not_chosen() -> None:
    kind, reason = choose(timed(ORT, 10.0), timed(VINO8, 12.5))
    assert kind == PROMISED
    assert reason == "not faster: kept cpu-onnxruntime-fp32; cpu-openvino-int8 runs at 0.80 times its speed"


@pytest.mark.parametrize(
    ("ms", "error", "chosen"),
    [
        (9.8, 0.001, "cpu-onnxruntime-fp32"),  # 2 % are nothing
        (9.6, 0.001, "cpu-openvino-int8"),
        (9.6, 0.02, "cpu-onnxruntime-fp32"),  # 4 % within the error
        (8.0, 0.02, "cpu-openvino-int8"),
        (8.0, 0.2, "cpu-onnxruntime-fp32"),
    ],
)
def test_faster_means_by_a_margin_and_beyond_the_noise(ms: float, error: float, chosen: str) -> None:
    assert choose(timed(ORT, 10.0, error), timed(VINO8, ms, error))[0] == chosen


def test_among_equals_the_simpler_one_wins_whatever_their_order() -> None:
    entries = timed(VINO8, 5.0), timed(ORT8, 5.05), timed(VINO, 5.1), timed(ORT, 20.0)
    assert choose(*entries)[0] == choose(*entries[::-1])[0] == "cpu-openvino-fp32"


def test_larger_batches_do_not_count() -> None:
    assert choose(timed(ORT, 10.0), timed(VINO, 12.0), timed(ORT, 80.0, batch=8), timed(VINO, 20.0, batch=8))[
        0
    ] == "cpu-onnxruntime-fp32"  # fmt: skip


def test_one_alone_is_chosen_and_says_so() -> None:
    assert choose(timed(VINO8, 3.0)) == ("cpu-openvino-int8", "the only target that could be timed here")


def test_a_gain_in_quality_is_not_called_a_loss() -> None:
    assert choose(timed(ORT, 10.0), timed(VINO8, 5.0), lost=-0.01)[1].endswith("at 0 dB lost")


def test_candidates_are_timed_at_every_batch(tmp_path: Path) -> None:
    subject = make_subject(tmp_path / "b", tiny_network())
    model = subject.bundle.model_path("fp32").read_bytes()
    candidates = [Candidate(Target.parse(slug), model, 0.0) for slug in (ORT, VINO)]
    quick = StabilityRule(min_runs=3, max_runs=3)
    found, left_out = time_candidates(candidates, (32, 32), rules=dict.fromkeys(RULES, quick))
    assert [(entry.record.target, entry.record.batch) for entry in found] == [
        (slug, batch) for batch in (1, 4, 8) for slug in (ORT, VINO)
    ]
    assert left_out == []
    for entry in found:
        record = entry.record
        assert record.ms > 0
        assert (record.height, record.width) == (32, 32)
        assert record.engine_version.startswith("onnxruntime " if "onnx" in record.target else "openvino ")
        assert record.device


def test_batches_too_large_for_memory_are_left_out_and_that_is_said() -> None:
    side = int((MOST_PIXELS / 4) ** 0.5) + 32
    found, left_out = time_candidates([], (side, side))
    assert found == []
    assert [line.partition(" of ")[2].partition(" tiles")[0] for line in left_out] == ["4", "8"]
    assert all("more memory than is spent on timing" in line for line in left_out)
