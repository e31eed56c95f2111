"""What `millisight search` refuses, and what it passes on."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from millisight.cli import app
from runtime import MillisightError

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
        (("--push-metrics", "gateway"), "--push-metrics", "write the address of a Pushgateway as http://HOST:9091"),
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


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_folder_for_metrics_that_is_not_there_is_said_before_anything_is_done(
    by_variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if by_variable:
        monkeypatch.setenv("MILLISIGHT_METRICS_DIR", "metrics")
    done = CliRunner().invoke(app, [*SMOKE, *(() if by_variable else ("--metrics-dir", "metrics"))])
    assert done.exit_code == 1
    assert isinstance(done.exception, MillisightError)
    assert str(done.exception).startswith("no folder metrics to write metrics to; make it, or name the one")
    assert list(tmp_path.iterdir()) == []


def test_a_gateways_address_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("MILLISIGHT_PUSH_METRICS", "gateway")
    done = CliRunner().invoke(app, [*SMOKE])
    assert done.exit_code == 2
    assert "'gateway' is no address" in done.output


def test_make_passes_several_budgets_on() -> None:
    command = ["make", "--dry-run", "search-latency-aware", "BUDGET_MS=5,10,20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--budget-ms '5,10,20'" in done.stdout
