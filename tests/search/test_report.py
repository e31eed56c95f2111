from pathlib import Path

import pytest

from search import format_report
from search.report import serve_command

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


def test_a_same_size_task_has_no_scale() -> None:
    assert "denoise x" not in format_report({**REPORT, "task": "denoise", "scale": 1})


def test_the_serve_command_is_short_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve_command(tmp_path / "runs" / "a") == "millisight serve runs/a"
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert serve_command(tmp_path / "runs" / "a") == f"millisight serve {tmp_path}/runs/a"
