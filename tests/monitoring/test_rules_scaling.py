from pathlib import Path

import pytest
import yaml

from monitoring.durations import DurationError, duration_text, seconds_of
from monitoring.rules import RulesError, load_rules, parse_rules
from monitoring.scaling import ScalingError, scaled_rules
from tests.monitoring.programs import needs
from tests.monitoring.test_rules_promtool import promtool

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"


def scaled_expression(expr: str, factor: float, shortest_range_s: float = 1.0) -> str:
    text = yaml.safe_dump({"groups": [{"name": "g", "rules": [{"record": "a:b:c", "expr": expr}]}]})
    scaled = scaled_rules(text, factor, shortest_range_s=shortest_range_s)
    return str(yaml.safe_load(scaled)["groups"][0]["rules"][0]["expr"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("28d", 2_419_200), ("500ms", 0.5), ("2w", 1_209_600)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "1.5h", "5m!"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DurationError, match="is no duration"):
        seconds_of(text)


def test_durations_are_written_in_whole_seconds_and_never_none() -> None:
    assert [duration_text(seconds) for seconds in (0.2, 1.4, 600)] == ["1s", "1s", "600s"]


@pytest.mark.parametrize(
    ("expr", "scaled"),
    [
        ("rate(a_total[5m])", "rate(a_total[5s])"),
        ("x unless last_over_time(x[1h] offset 15m)", "x unless last_over_time(x[60s] offset 15s)"),
        ("x offset -2m", "x offset -2s"),
        ("max_over_time(rate(x[10m])[2h:5m])", "max_over_time(rate(x[10s])[120s:5s])"),
        ("max_over_time(x[2h:])", "max_over_time(x[120s:])"),
        ("rate(x[90s])", "rate(x[2s])"),
        ('a{b="[5m] offset 1h"} > 5 / 600', 'a{b="[5m] offset 1h"} > 5 / 600'),
        (
            "slo:restore_answers:error_ratio_5m > 0.1  # over [5m]",
            "slo:restore_answers:error_ratio_5m > 0.1  # over [5m]",
        ),
    ],
)
def test_ranges_and_offsets_are_scaled_and_nothing_else(expr: str, scaled: str) -> None:
    assert scaled_expression(expr, 1 / 60) == scaled


def test_no_range_becomes_shorter_than_what_a_rate_needs() -> None:
    assert scaled_expression("rate(x[5m] offset 5m) + rate(y[1h])", 1 / 60, 8) == "rate(x[8s] offset 5s) + rate(y[60s])"


def test_waits_and_intervals_are_scaled_and_labels_and_texts_stay() -> None:
    for path in FOLDER.glob("*.yml"):
        before, after = (
            parse_rules(path.read_text(), "before"),
            parse_rules(scaled_rules(path.read_text(), 1 / 60), "after"),
        )
        for old, new in zip(before.groups, after.groups, strict=True):
            assert new.interval == (None if old.interval is None else duration_text(seconds_of(old.interval) / 60))
        for alert, scaled in zip(before.alerts, after.alerts, strict=True):
            assert (alert.name, alert.labels, alert.annotations) == (scaled.name, scaled.labels, scaled.annotations)
            for was, now in ((alert.wait, scaled.wait), (alert.keep_firing_for, scaled.keep_firing_for)):
                assert now == ("0s" if was == "0s" else duration_text(seconds_of(was) / 60))


def test_the_factor_1_changes_no_duration() -> None:
    for path in FOLDER.glob("*.yml"):
        text = scaled_rules(path.read_text(), 1.0)
        before, after = parse_rules(path.read_text(), "before"), parse_rules(text, "after")
        assert [rule.name for rule in before.all] == [rule.name for rule in after.all]
        assert "[300s]" in text or "[900s]" in text


def test_a_factor_of_nothing_and_a_text_that_is_no_rules_file_are_refused() -> None:
    with pytest.raises(ScalingError, match="above 0"):
        scaled_rules("groups: []", 0)
    with pytest.raises(RulesError):
        scaled_rules("groups: 5", 0.1)


@needs("promtool")
def test_scaled_rules_are_valid(tmp_path: Path) -> None:
    for path in FOLDER.glob("*.yml"):
        (tmp_path / path.name).write_text(scaled_rules(path.read_text(), 1 / 60, shortest_range_s=4))
    load_rules(tmp_path)
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, tmp_path.glob("*.yml")))
    assert result.returncode == 0, result.stdout + result.stderr
