"""What `millisight search` refuses, and what it passes on."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millisight.cli import app

ROOT = Path(__file__).parent.parent.parent
SMOKE = ("search", "--preset", "smoke", "--target", "cpu-onnxruntime-fp32-1t", "--out", "nowhere")


@pytest.mark.parametrize(
    ("arguments", "option", "said"),
    [
        (("--budget-ms", "fast"), "--budget-ms", "such as 20 or 5,10,20; got 'fast'"),
        (("--budget-ms", "5,,20"), "--budget-ms", "got '' in '5,,20'"),
        (("--budget-ms", "0"), "--budget-ms", "more than 0 ms, got 0.0"),
        (("--budget-ms", "inf"), "--budget-ms", "finite number of more than 0 ms, got inf"),
        (("--budget-ms", "5,5"), "--budget-ms", "budget 5 ms is named twice"),
        (("--budget-ms", ""), "--budget-ms", "no budget is named"),
        (("--scale", "2"), "--scale", "denoise has no scale 2"),
        (("--scale", "1"), "--scale", "scale 1 is no scale; leave it out"),
        (("--task", "super-resolution", "--scale", "3"), "--scale", "has no scale 3"),
        (("--size", "65x50"), "--size", "for 68x52; ask for that"),
        (("--size", "8x8"), "--size", "height: Input should be greater than or equal to 16, got 8"),
        (("--device", "tpu"), "--device", "unknown device 'tpu'"),
        (("--complexity", "size"), "--complexity", "unknown complexity 'size'"),
        (("--elsewhere",), "--elsewhere", "carry the file home, and name it with --table"),
    ],
)
def test_what_cannot_have_an_effect_is_wrong_use(
    arguments: tuple[str, ...], option: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    done = CliRunner().invoke(app, [*SMOKE, *arguments])
    assert done.exit_code == 2, done.output
    assert option in done.output
    assert said in done.output
    assert list(tmp_path.iterdir()) == []


def test_make_passes_several_budgets_on() -> None:
    command = ["make", "--dry-run", "search-latency-aware", "BUDGET_MS=5,10,20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--budget-ms '5,10,20'" in done.stdout
