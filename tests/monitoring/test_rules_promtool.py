import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from monitoring.rules import load_rules
from tests.monitoring.programs import needs

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
TESTS = sorted(path.name for path in (PROMETHEUS / "tests").glob("*.yml"))


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    command = ["promtool", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@needs("promtool")
def test_the_configuration_and_its_rules_are_valid() -> None:
    result = promtool("check", "config", "prometheus.yml")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 rule files found" in result.stdout
    rules = [f"rules/{path.name}" for path in (PROMETHEUS / "rules").glob("*.yml")]
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", *rules)
    assert result.returncode == 0, result.stdout + result.stderr


@needs("amtool")
def test_the_example_for_alertmanager_is_valid_and_routes_by_severity() -> None:
    result = subprocess.run(
        ["amtool", "check-config", "alertmanager.yml"], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for severity, receiver in (("page", "pages"), ("ticket", "tickets")):
        command = ["amtool", "config", "routes", "test", "--config.file=alertmanager.yml", f"severity={severity}"]
        result = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == receiver


@needs("promtool")
@pytest.mark.parametrize("name", TESTS)
def test_the_unit_tests_of_the_rules_hold(name: str) -> None:
    result = promtool("test", "rules", f"tests/{name}")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", TESTS)
def test_unit_tests_name_the_order_of_groups(name: str) -> None:
    # Without it promtool takes any order, and a rule that needs another group's series is wrong now and then.
    content = yaml.safe_load((PROMETHEUS / "tests" / name).read_text())
    files = [Path(file).name for file in content["rule_files"]]
    groups = [
        group["name"] for file in files for group in yaml.safe_load((PROMETHEUS / "rules" / file).read_text())["groups"]
    ]
    if name not in ("requests.yml", "runs.yml"):
        assert sorted(content["group_eval_order"]) == sorted(groups)


# Where a rule is changed so that it is just no longer what it should be, and which unit test says so.
FAULTS = [
    ("alerts.yml", "ratio10m > 1.2", "ratio10m > 1.6", "promise.yml"),
    ("alerts.yml", "ratio10m > 1.2", "ratio10m > 1.1", "promise.yml"),
    ("alerts.yml", "[10m])) > 0.02", "[10m])) > 0.01", "promise.yml"),
    ("alerts.yml", "budget_missed:ratio10m > 0.05", "budget_missed:ratio10m > 0.04", "promise.yml"),
    ("alerts.yml", "> 5 / 600", "> 3 / 600", "promise.yml"),
    ("alerts.yml", "refused:ratio5m > 0.05", "refused:ratio5m > 0.04", "saturation.yml"),
    ("alerts.yml", "slots_busy:ratio[5m]) > 0.8", "slots_busy:ratio[5m]) >= 0", "saturation.yml"),
    ("alerts.yml", "unless task:restore_model_loaded:max)", "unless vector(0))", "models.yml"),
    ("alerts.yml", "task:restore_model_loaded:max[1d]", "task:restore_model_loaded:max[1h]", "models.yml"),
    ("alerts.yml", "last_over_time(restore_nonfinite_outputs_total[1h] offset 15m)", "vector(0)", "outputs.yml"),
    ("alerts.yml", "changes1h) > 2\n", "changes1h) > 1\n", "service.yml"),
    ("alerts.yml", 'on (job) max by (job) (up{job="millisight"}) == 1', "on (job) up", "service.yml"),
    ("alerts.yml", "max(restore_bundles_refused) > 0", "max(restore_bundles_refused) > 2", "models.yml"),
    ("alerts.yml", "> 900 < 86400", "> 1900 < 86400", "runs.yml"),
    ("alerts.yml", "unless on (run) millisight_run_failed == 1", "", "runs.yml"),
    ("recording.yml", 'code=~"5..|429"', 'code=~"5.."', "requests.yml"),
    ("recording.yml", "(restore_requests_total{code!=\"499\"}[5m])) > 0)\n\n      # `>= 0`",
     "(restore_requests_total{code!=\"499\"}[5m])))\n\n      # `>= 0`", "requests.yml"),
    ("slo.yml", 'restore_requests_total{code!="499"}', "restore_requests_total", "slo-fast.yml"),
    ("slo.yml", "ratio_1h > 14.4 * 0.005", "ratio_1h > 14.4 * 0.05", "slo-fast.yml"),
    ("slo.yml", "ratio_5m > 14.4 * 0.005", "ratio_5m >= 0", "slo-fast.yml"),
    ("slo.yml", "> 6 * 0.005", "> 5 * 0.005", "slo-fast.yml"),
    ("slo.yml", "> 3 / 30", "> 1 / 30", "slo-few.yml"),
    ("slo.yml", "ratio_3d > 1 * 0.005", "ratio_3d > 2 * 0.005", "slo-slow.yml"),
    ("slo.yml", "> 1 * 0.01", "> 0.9 * 0.01", "slo-slow.yml"),
    ("slo.yml", "rate5m[28d]", "rate5m[3d]", "slo-slow.yml"),
]  # fmt: skip


def planted(folder: Path, file: str, old: str, new: str) -> None:
    """A copy of everything with one change."""
    shutil.copytree(PROMETHEUS, folder)
    text = (folder / "rules" / file).read_text()
    assert old in text, old
    (folder / "rules" / file).write_text(text.replace(old, new))


@needs("promtool")
@pytest.mark.parametrize(("file", "old", "new", "test"), [FAULTS[0], FAULTS[11]])
def test_a_fault_in_a_rule_is_seen_by_its_unit_test(tmp_path: Path, file: str, old: str, new: str, test: str) -> None:
    planted(tmp_path / "copy", file, old, new)
    result = promtool("test", "rules", f"tests/{test}", folder=tmp_path / "copy")
    assert result.returncode != 0
    assert "FAILED" in result.stdout + result.stderr


@needs("promtool")
@pytest.mark.slow
@pytest.mark.parametrize(("file", "old", "new", "test"), FAULTS)
def test_no_fault_in_a_rule_gets_past_its_unit_test(tmp_path: Path, file: str, old: str, new: str, test: str) -> None:
    planted(tmp_path / "copy", file, old, new)
    load_rules(tmp_path / "copy" / "rules")
    result = promtool("test", "rules", f"tests/{test}", folder=tmp_path / "copy")
    assert result.returncode != 0, f"{old!r} -> {new!r} makes no difference to {test}"
