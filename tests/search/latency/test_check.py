"""A table that was tampered with, or does not fit the machine, is found out; a good one is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.search_spaces.unet import UNetSpace
from runtime import StabilityRule, Target
from search import TableError
from search.latency.check import Deviation, TableCheck, check_table, inconsistencies
from search.latency.measure import Rules, measure_table
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable

ONE = Target("cpu", "onnxruntime", "fp32", 1)
FEW = StabilityRule(warmup=1, min_runs=9, max_runs=12, max_seconds=0.5)
RULES = Rules(FEW, FEW)
TINY: dict[str, Any] = {"channels": (16,), "blocks": 1, "convolutions": ("conv3x3", "conv5x5"), "widths": (1.0,)}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    space = UNetSpace()
    out = tmp_path_factory.mktemp("table") / "t.json"
    return measure_table(space, space.parse_config(TINY), ONE, [(64, 64), (96, 96)], out, rules=RULES)


def with_size(table: LatencyTable, change: Callable[[Any], Any], number: int = 0) -> LatencyTable:
    sizes = [*table.sizes]
    sizes[number] = change(sizes[number])
    return table.model_copy(update={"sizes": tuple(sizes)})


def test_a_measured_table_follows_from_its_timings(table: LatencyTable, tmp_path: Path) -> None:
    table.save(tmp_path / "t.json")
    assert inconsistencies(LatencyModel(LatencyTable.load(tmp_path / "t.json"))) == ()


@pytest.mark.parametrize("number", [0, 1])
def test_a_row_off_by_a_factor_of_two_is_found_without_a_clock(table: LatencyTable, number: int) -> None:
    def change(size: Any) -> Any:
        dearest = max(size.rows, key=lambda row: row.ms)
        rows = tuple(row.model_copy(update={"ms": 2 * row.ms}) if row is dearest else row for row in size.rows)
        return size.model_copy(update={"rows": rows})

    (found,) = inconsistencies(LatencyModel(with_size(table, change, number)))
    assert "row conv5x5 16->16" in found
    assert "its timings say" in found


@pytest.mark.parametrize("name", ["slope", "intercept_ms"])
def test_an_edited_calibration_is_found_without_a_clock(table: LatencyTable, name: str) -> None:
    def change(size: Any) -> Any:
        edited = size.calibration.model_copy(update={name: 2 * getattr(size.calibration, name) + 0.1})
        return size.model_copy(update={"calibration": edited})

    assert any(name in found for found in inconsistencies(LatencyModel(with_size(table, change))))


def test_a_chain_without_its_timing_is_named(table: LatencyTable) -> None:
    gone = table.sizes[0].chains[0].id

    def change(size: Any) -> Any:
        return size.model_copy(update={"chains": size.chains[1:]})

    (found,) = inconsistencies(LatencyModel(with_size(table, change)))
    assert gone in found


def test_a_timing_off_by_a_factor_of_two_is_found_by_the_clock(table: LatencyTable) -> None:
    """Rows and calibration are solved anew from the wrong timing, so that only the machine can tell."""
    wrong = table.sizes[1].calibration.networks[0]

    def change(size: Any) -> Any:
        networks = tuple(n.model_copy(update={"ms": 8 * n.ms}) if n is wrong else n for n in size.calibration.networks)
        return size.model_copy(update={"calibration": size.calibration.model_copy(update={"networks": networks})})

    found = check_table(with_size(table, change, 1), ONE, rules=RULES)
    assert not found.holds
    worst = found.deviations[0]
    assert (worst.what, worst.height, worst.width) == (wrong.id, 96, 96)
    assert worst.ratio < 0.3


def test_a_sample_takes_fewer_timings_again(table: LatencyTable) -> None:
    whole = sum(len(size.chains) + len(size.calibration.networks) for size in table.sizes)
    sampled = check_table(table, ONE, rules=RULES, share=0.01)
    assert 0 < sampled.compared < whole
    assert sampled.compared == 3 * 2 * len(table.sizes)  # three chains and three networks at each
    assert sampled.slowdown > 0
    assert sampled.typical > 0


def test_a_table_of_other_threads_is_refused(table: LatencyTable) -> None:
    with pytest.raises(TableError, match=r"target cpu-onnxruntime-fp32-1t \(wanted cpu-onnxruntime-fp32-2t\)"):
        check_table(table, Target("cpu", "onnxruntime", "fp32", 2))


def test_what_a_check_says() -> None:
    good = TableCheck(inconsistent=(), deviations=(), compared=9, typical=1.0, slowdown=1.1)
    assert good.holds
    assert good.calm
    assert not replace(good, inconsistent=("row",)).holds
    assert not replace(good, deviations=(Deviation("a", 8, 8, 1.0, 2.0),)).holds
    assert not replace(good, slowdown=1.5).calm
    assert not replace(good, slowdown=0.6).calm
    assert Deviation("a", 8, 8, 2.0, 3.0).ratio == 1.5
