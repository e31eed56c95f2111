"""Measuring with the real engine on a tiny space; never a time is asserted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import Carrier
from models.search_spaces.unet import UNetConfig, UNetSpace
from runtime import StabilityRule, Target, describe_host
from search.latency.measure import (
    CALIBRATION_NETWORKS,
    _Journal,
    anchor_graph,
    calibration_picks,
    fit_calibration,
    measure_table,
)
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable, Measured

TARGET = Target("cpu", "onnxruntime", "fp32", 1)
QUICK = StabilityRule(warmup=0, min_runs=3, max_runs=3, max_seconds=0.05)
TINY: dict[str, Any] = {"channels": (8,), "blocks": 1, "convolutions": ("conv3x3", "separable3x3"), "widths": (1.0,)}


class KilledError(Exception):
    """Stands for a killed process."""


class Counting(UNetSpace):
    """Counts the units that are built, and dies at one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.built: list[str] = []
        self._dies_at = dies_at

    def carriers(self, config: UNetConfig) -> tuple[Carrier, ...]:
        return tuple(replace(carrier, make=self._counted(carrier)) for carrier in super().carriers(config))

    def _counted(self, carrier: Carrier) -> Any:
        def make() -> Any:
            self.built.append(carrier.id)
            if len(self.built) == self._dies_at:
                raise KilledError
            return carrier.make()

        return make


def config(space: UNetSpace, values: dict[str, Any] | None = None) -> UNetConfig:
    return space.parse_config(TINY | (values or {}))


def measure_two_groups(space: UNetSpace, out: Path, seed: int = 0) -> LatencyTable:
    two = config(space, {"channels": (8, 16)})
    return measure_table(space, two, TARGET, [(16, 16)], out, seed=seed, rule=QUICK)


def test_a_table_is_measured_whole(tmp_path: Path) -> None:
    space = UNetSpace()
    out = tmp_path / "t.json"
    table = measure_table(space, config(space), TARGET, [(16, 16), (30, 17)], out, rule=QUICK, code_version="1.2")
    assert LatencyTable.load(out) == table
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    assert [(size.height, size.width) for size in table.sizes] == [(16, 16), (30, 18)]  # up to the multiple of two
    keys = {str(term.key) for term in space.cost_terms(config(space))}
    for size in table.sizes:
        assert {f"{r.operation} {r.in_channels}->{r.out_channels} @1/{r.divisor}" for r in size.rows} == keys
        assert all(row.ms >= 0 for row in size.rows)
        assert all(chain.ms > 0 and chain.runs >= 1 for chain in size.chains)
        assert len(size.calibration.networks) == CALIBRATION_NETWORKS
        assert len(size.calibration.sums_ms) == CALIBRATION_NETWORKS
    assert (table.target, table.clock, table.code_version) == (TARGET.slug, "cpu", "1.2")
    assert table.anchor_ms > 0
    table.require(TARGET, space, config(space), describe_host())
    LatencyModel(table)


def test_interrupted_measuring_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    out, journal = tmp_path / "t.json", tmp_path / "t.partial.json"
    with pytest.raises(KilledError):
        measure_two_groups(Counting(dies_at=2), out)
    assert not journal.exists()  # no group was done
    dying = Counting(dies_at=20)
    with pytest.raises(KilledError):
        measure_two_groups(dying, out)
    assert not out.exists()
    assert journal.exists()

    again = Counting(dies_at=20)
    table = measure_two_groups(again, out)  # the anchor is built again, the finished group is not
    assert sum("@1/2" in unit for unit in dying.built) > 5
    assert sum("@1/2" in unit for unit in again.built) == 1
    assert sum("@1/4" in unit for unit in again.built) > 5
    assert not journal.exists()
    assert LatencyTable.load(out) == table


def test_a_journal_of_something_else_is_not_used(tmp_path: Path) -> None:
    for seed in (0, 1):
        # The second run would not die if it took what the first one left.
        with pytest.raises(KilledError):
            measure_two_groups(Counting(dies_at=20), tmp_path / "t.json", seed=seed)


def timed(raw_ms: float, anchor_ms: float) -> dict[str, Any]:
    entry = {"id": "chain", "raw_ms": raw_ms, "spread": 0.0, "runs": 3, "stable": True}
    return {"anchor_ms": anchor_ms, "timings": [entry]}


def test_times_are_corrected_by_the_drift_of_the_anchor(tmp_path: Path) -> None:
    journal = _Journal(tmp_path / "j.json", "key")
    (first,) = journal.once("a", lambda: timed(4.0, 2.0))
    (slow,) = journal.once("b", lambda: timed(8.0, 4.0))  # the machine is half as fast now
    (quick,) = journal.once("c", lambda: timed(2.0, 1.0))
    assert (first.ms, slow.ms, quick.ms) == (4.0, 4.0, 4.0)
    assert (slow.raw_ms, quick.raw_ms) == (8.0, 2.0)
    reopened = _Journal(tmp_path / "j.json", "key")
    assert reopened.once("b", lambda: timed(99.0, 1.0)) == [slow]
    assert _Journal(tmp_path / "j.json", "another").once("b", lambda: timed(99.0, 1.0))[0].ms == 99.0


def test_calibration_networks_differ_and_start_with_the_reference() -> None:
    space = UNetSpace()
    wide = space.parse_config({"channels": (16, 24), "blocks": 1})
    networks = calibration_picks(space, wide, seed=0)
    assert list(networks)[:3] == ["reference", "all-first", "all-last"]
    assert networks["reference"] == space.reference_picks(wide)
    assert len({space.genotype(wide, picks).id for picks in networks.values()}) >= CALIBRATION_NETWORKS - 1
    assert calibration_picks(space, wide, seed=0) == networks
    assert calibration_picks(space, wide, seed=1) != networks


def test_the_anchor_is_the_same_graph_every_time() -> None:
    space = UNetSpace()
    graph, size = anchor_graph(space, config(space), (32, 32))
    assert anchor_graph(space, config(space), (32, 32)) == (graph, size)
    assert size == (16, 16)  # at the resolution of its carrier


def networks_taking(*ms: float) -> list[Measured]:
    return [Measured(id=str(i), ms=value, raw_ms=value, spread=0.0, runs=3, stable=True) for i, value in enumerate(ms)]


def test_calibration_finds_a_planted_line() -> None:
    sums = [1.0, 2.0, 4.0, 7.0]
    fitted = fit_calibration(sums, networks_taking(*(3.0 + 0.8 * value for value in sums)))
    assert fitted.intercept_ms == pytest.approx(3.0)
    assert fitted.slope == pytest.approx(0.8)
    assert fitted.mape == pytest.approx(0.0, abs=1e-9)
    assert fitted.worst == pytest.approx(0.0, abs=1e-9)


def test_calibration_error_is_that_of_networks_it_has_not_seen() -> None:
    """Against numpy's own weighted line, fitted without the point in question."""
    sums, ms = [1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 10.0]
    fitted = fit_calibration(sums, networks_taking(*ms))
    errors = []
    for index, (x, y) in enumerate(zip(sums, ms, strict=True)):
        others = [i for i in range(4) if i != index]
        slope, intercept = np.polyfit(
            [sums[i] for i in others], [ms[i] for i in others], 1, w=[1 / ms[i] for i in others]
        )
        errors.append(abs(intercept + slope * x - y) / y)
    assert errors[3] == pytest.approx(0.5)  # three points on a line miss the fourth by its whole distance
    assert fitted.worst == pytest.approx(max(errors))
    assert fitted.mape == pytest.approx(np.mean(errors))
