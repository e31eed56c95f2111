"""Numbers as Grafana writes them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from monitoring.panels import DashboardError, read_dashboard
from monitoring.snapshot.units import scale_for, text, tick_decimals

COMMITTED = Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards"


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0, "s", "0 s"),
        (0.000_25, "s", "250 µs"),
        (0.0654, "s", "65.4 ms"),
        (1.5, "s", "1.5 s"),
        (90.0, "s", "1.5 min"),
        (7200.0, "s", "2 h"),
        (1500.0, "ms", "1.5 s"),
        (512.0, "bytes", "512 B"),
        (3 * 2**20, "bytes", "3 MiB"),
        (2.5e9, "decbytes", "2.5 GB"),
        (0.995, "percentunit", "99.5%"),
        (0.0, "percentunit", "0%"),
        (12.0, "percent", "12%"),
        (4.25, "reqps", "4.25 req/s"),
        (4250.0, "reqps", "4.25 kreq/s"),
        (0.125, "reqps", "0.125 req/s"),
        (1_234.0, "short", "1.23 K"),
        (1_234.0, "none", "1,234"),
        (29.013, "dB", "29 dB"),
        (1.07, "suffix:×", "1.07 ×"),
        (2.0, "suffix: MP", "2 MP"),
        (math.nan, "s", "NaN"),
        (-math.inf, "s", "-∞"),
    ],
)
def test_words(value: float, unit: str, words: str) -> None:
    assert text(value, unit) == words


def test_decimals_may_be_given() -> None:
    assert text(0.99512, "percentunit", 2) == "99.51%"
    assert text(5.0, "s", 0) == "5 s"


def test_an_unknown_unit_is_named() -> None:
    with pytest.raises(DashboardError, match="furlongs"):
        scale_for("furlongs", 1.0)


def test_ticks_have_the_digits_that_tell_them_apart() -> None:
    assert tick_decimals([0, 0.25, 0.5]) == 2
    assert tick_decimals([0.0, 20.0]) == 0
    assert tick_decimals([0.0, 0.1, 0.2]) == 1
    assert tick_decimals([1.0]) == 0


@pytest.mark.parametrize("file", sorted(COMMITTED.glob("*.json")), ids=lambda file: file.stem)
def test_every_unit_of_the_committed_dashboards_is_known(file: Path) -> None:
    for panel in read_dashboard(file).panels:
        units = [panel.config.defaults.get("unit", "")]
        for override in panel.config.overrides:
            units += [change["value"] for change in override.properties if change["id"] == "unit"]
        for unit in units:
            assert str(unit).startswith("dateTime") or scale_for(str(unit), 1.0)
