from pathlib import Path

import pytest

from search import format_report
from search.report import family_report, serve_command

REPORT = {
    "task": "super-resolution", "scale": 4, "method": "autoderain", "target": "cpu-onnxruntime-fp32-1t",
    "device": "Some CPU", "genotype": "abc", "parameters": 1234567, "budget_ms": 20.0, "size": "512x384",
    "predicted_ms": 19.0, "predicted_error_ms": 0.8, "measured_ms": 19.5, "predicted_over_measured": 0.974,
    "metric": "psnr-y", "baseline": "bicubic", "baseline_db": 28.123, "restored_db": 29.456, "validation_images": 12,
    "bundle": "runs/x/bundle", "serve": "millisight serve runs/x/bundle",
}  # fmt: skip


def test_everything_a_reader_asks_for_is_in_the_table() -> None:
    text = format_report(REPORT)
    for part in (
        "super-resolution x4", "1,234,567", "20 ms at 512x384", "19 ms ± 0.8", "19.5 ms (predicted / measured = 0.974)",
        "bicubic (before)", "28.12 dB psnr-y", "29.46 dB psnr-y, 12 held-out images", "millisight serve runs/x/bundle",
        "cpu-onnxruntime-fp32-1t on Some CPU",
    ):  # fmt: skip
        assert part in text
    assert len({line.index("  ", 3) for line in text.splitlines() if "budget" in line}) == 1


NEW = {**REPORT, "budget_share": 0.975, "budget_note": "", "derivations": 2}


def test_the_share_of_the_budget_is_in_the_table() -> None:
    assert "97.5%, 2 networks derived and timed" in format_report(NEW)
    assert "97.5%, 1 network derived and timed" in format_report({**NEW, "derivations": 1})
    assert "note" not in format_report(NEW)
    assert "the slowest network" in format_report({**NEW, "budget_note": "the slowest network takes 3 ms"})
    # Rows that benchmarks kept from before know nothing of it.
    assert "used" not in format_report(REPORT)


FAR = {
    **NEW, "measured_ms": None, "predicted_over_measured": None, "budget_share": None,
    "verify": "millisight verify runs/x/bundle --target cpu-onnxruntime-fp32-1t",
}  # fmt: skip


def test_what_was_not_timed_is_no_number() -> None:
    text = format_report(FAR)
    assert "measured " in text
    assert "not timed: the device is elsewhere" in text
    assert "time it there with" in text
    assert FAR["verify"] in text
    assert "used" not in text
    family = format_report(family_report([{**FAR, "budget_ms": 5.0, "verify": "millisight verify other"}, FAR]))
    first, second = family.splitlines()[-2:]
    for line in (first, second):
        assert "not timed  -  " in line.replace("   ", "  ").replace("   ", "  ")
    assert "time 5 ms there with" in family
    assert "millisight verify other" in family
    for shown in (text, family):
        assert "None" not in shown
        assert "19.5" not in shown


def test_where_the_latency_table_is_drawn_is_in_the_table() -> None:
    for report in (NEW, family_report([NEW, NEW])):
        assert "latency table" not in format_report(report)
        assert "runs/x/latency/latency.html" in format_report(
            report | {"latency_report": "runs/x/latency/latency.html"}
        )


def test_a_family_is_one_line_per_budget_under_what_it_shares() -> None:
    small = {**NEW, "budget_ms": 5.0, "measured_ms": 4.5, "budget_share": 0.9, "bundle": "runs/x/5ms/bundle"}
    family = family_report([{**small, "budget_note": "all are fast"}, NEW])
    assert [member["budget_ms"] for member in family["members"]] == [5.0, 20.0]
    assert family["target"] == NEW["target"]
    text = format_report(family)
    for part in ("super-resolution x4", "28.12 dB psnr-y", "note on 5 ms", "all are fast", "note on 20 ms"):
        assert (part in text) == (part != "note on 20 ms")
    header, first, second = text.splitlines()[-3:]
    for name, one, other in (
        ("budget", "5 ms", "20 ms"), ("predicted", "19 ms ± 0.8", "19 ms ± 0.8"), ("measured", "4.5 ms", "19.5 ms"),
        ("used", "90.0%", "97.5%"), ("dB", "29.46", "29.46"), ("bundle", "runs/x/5ms/bundle", "runs/x/bundle"),
    ):  # fmt: skip
        place = header.index(name)
        assert first[place:].startswith(one)
        assert second[place:].startswith(other)


def test_a_same_size_task_has_no_scale() -> None:
    assert "denoise x" not in format_report({**REPORT, "task": "denoise", "scale": 1})


def test_the_serve_command_is_short_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve_command(tmp_path / "runs" / "a") == "millisight serve runs/a"
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert serve_command(tmp_path / "runs" / "a") == f"millisight serve {tmp_path}/runs/a"
