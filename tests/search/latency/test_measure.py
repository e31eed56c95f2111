"""Measuring with the real engine on a tiny space; never a time is asserted."""

from pathlib import Path
from typing import Any

import pytest

import search.latency.linked
from models.search_spaces.unet import UNetConfig, UNetSpace
from runtime import StabilityRule, Target, device_name, engine_version
from search import TableError
from search.latency.calibration import CALIBRATION_NETWORKS, FINALIST_SHARES, UNSEEN_NETWORKS, calibration_picks
from search.latency.measure import MOST_PIXELS, Rules, Workload, measure_table, unseen_size
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject, time_graphs
from search.latency.table import LatencyTable
from tests.training.exported import FACTS, Kept
from training.telemetry.run_metrics import RunMetrics

TARGET = Target("cpu", "onnxruntime", "fp32", 1)
FEW = StabilityRule(warmup=0, min_runs=3, max_runs=3, max_seconds=0.05)
QUICK = Rules(FEW, FEW)
TINY: dict[str, Any] = {"channels": (8,), "blocks": 1, "convolutions": ("conv3x3", "separable3x3"), "widths": (1.0,)}


class KilledError(Exception):
    """Stands for a killed process."""


def die_at_batch(number: int | None, patch: pytest.MonkeyPatch) -> list[list[str]]:
    """Plant a kill before the batch of this number, from 1; returns what is timed from now on, batch by batch."""
    timed: list[list[str]] = []

    def mortal(subjects: list[Subject], *arguments: Any, **options: Any) -> Any:
        if len(timed) + 1 == number:
            raise KilledError
        timed.append([subject.id for subject in subjects])
        return time_graphs(subjects, *arguments, **options)

    patch.setattr(search.latency.linked, "time_graphs", mortal)
    return timed


def config(space: UNetSpace, values: dict[str, Any] | None = None) -> UNetConfig:
    return space.parse_config(TINY | (values or {}))


def measure(out: Path, values: dict[str, Any] | None = None, sizes: Any = ((16, 16),), **more: Any) -> LatencyTable:
    space = UNetSpace()
    return measure_table(space, config(space, values), TARGET, sizes, out, rules=QUICK, **more)


def test_a_table_is_measured_whole(tmp_path: Path) -> None:
    space = UNetSpace()
    out = tmp_path / "t.json"
    table = measure(out, sizes=[(48, 40), (16, 16), (30, 17)], code_version="1.2")
    assert LatencyTable.load(out) == table
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    # Smallest first, up to the multiple of two.
    assert [(size.height, size.width) for size in table.sizes] == [(16, 16), (30, 18), (48, 40)]
    keys = {str(term.key) for term in space.cost_terms(config(space))}
    for size in table.sizes:
        assert {f"{r.operation} {r.in_channels}->{r.out_channels} @1/{r.divisor}" for r in size.rows} == keys
        assert len(size.calibration.networks) == CALIBRATION_NETWORKS
    kinds = [check.kind for check in table.checks]
    assert kinds == ["held-out"] * 3 + ["optimum", "unseen-size"]
    optimum, unseen = table.checks[3:]
    assert (optimum.height, optimum.width, len(optimum.networks)) == (48, 40, len(FINALIST_SHARES))
    assert (unseen.height, unseen.width, len(unseen.networks)) == (40, 28, UNSEEN_NETWORKS)
    timed = {entry.id for entry in table.timings()} - {chain.id for size in table.sizes for chain in size.chains}
    assert set(table.networks) == timed
    assert (table.target, table.session.clock, table.session.code_version) == (TARGET.slug, "cpu", "1.2")
    assert table.anchor_ms == table.session.anchor_ms > 0
    table.require(TARGET, space, config(space), device_name(TARGET), engine_version(TARGET))
    LatencyModel(table)


def test_every_prediction_of_a_check_is_the_models(tmp_path: Path) -> None:
    table = measure(tmp_path / "t.json", sizes=[(16, 16), (32, 32)])
    model = LatencyModel(table)
    for check in table.checks:
        if check.kind != "held-out":
            for predicted, entry in zip(check.predicted_ms, check.networks, strict=True):
                again = model.predict(table.networks[entry.id], check.height, check.width).ms
                assert predicted == pytest.approx(again)


def test_interrupted_measuring_goes_on_with_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, journal = tmp_path / "t.json", tmp_path / "t.partial.json"
    sizes = [(16, 16), (24, 24)]
    with monkeypatch.context() as patch:
        die_at_batch(1, patch)
        with pytest.raises(KilledError):
            measure(out, sizes=sizes)
    assert not journal.exists()  # no batch was done
    with monkeypatch.context() as patch:
        timed = die_at_batch(2, patch)
        with pytest.raises(KilledError):
            measure(out, sizes=sizes)
    assert journal.exists()
    assert not out.exists()
    assert len(timed) == 1  # everything at 16x16
    with monkeypatch.context() as patch:
        timed = die_at_batch(None, patch)
        table = measure(out, sizes=sizes)
    assert timed[0] == [*known_networks(table), *(chain.id for chain in table.sizes[1].chains)]
    assert len(table.sessions) == 2
    settled = [entry for entry in table.sizes[0].chains if entry.stable]
    assert {entry.session for entry in table.sizes[1].chains} == {1}
    assert {entry.session for entry in settled} <= {0, 1}
    assert not journal.exists()
    assert LatencyTable.load(out) == table


def test_every_batch_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def telemetry() -> tuple[RunMetrics, Kept]:
        place = Kept()
        return RunMetrics(FACTS, [place], every=0.0, clock=lambda: 0.0), place

    def steps(place: Kept) -> list[tuple[float, float]]:
        """(done, in all), without repetitions."""
        told = (
            tuple(found.values(f"millisight_run_{name}", "stage").get("measure") for name in ("steps_done", "steps"))
            for found in place.all
        )
        return [pair for pair in dict.fromkeys(told) if None not in pair]

    # One batch for each size, one at a size between them, one at the optimum; what did not settle comes on top.
    sizes, out = [(16, 16), (32, 32)], tmp_path / "t.json"
    first, place = telemetry()
    with monkeypatch.context() as patch:
        die_at_batch(3, patch)
        with pytest.raises(KilledError), first.running(), first.stage("measure"):
            measure(out, sizes=sizes, telemetry=first)
    assert steps(place) == [(0.0, 4.0), (1.0, 4.0), (2.0, 4.0)]
    second, place = telemetry()
    with second.running(), second.stage("measure"):
        timed = die_at_batch(None, monkeypatch)
        measure(out, sizes=sizes, telemetry=second)
    found = steps(place)
    assert found[0] == (0.0, 2.0)
    assert found[-1] == (len(timed), len(timed))


def known_networks(table: LatencyTable) -> list[str]:
    return [entry.id for entry in table.sizes[0].calibration.networks]


def test_a_new_operation_measures_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.json"
    before = measure(out)
    with monkeypatch.context() as patch:
        timed = die_at_batch(None, patch)
        after = measure(out, {"convolutions": ("conv3x3", "separable3x3", "conv5x5")})
    chains = [name for name in timed[0] if "x (" in name]
    assert chains
    assert all("conv5x5" in name for name in chains)
    # What is known already ties the new sitting to the old one.
    assert any(name.startswith("yardstick") for name in timed[0])
    known = {chain.id: chain for chain in before.sizes[0].chains}
    kept = [chain for chain in after.sizes[0].chains if chain.id in known]
    assert kept == list(known.values())
    assert after.anchor_ms == before.anchor_ms
    assert len(after.sessions) == 2
    LatencyModel(after)


def test_nothing_new_is_nothing_to_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.json"
    before = measure(out)
    with monkeypatch.context() as patch:
        die_at_batch(1, patch)
        assert measure(out) == before
        with pytest.raises(KilledError):  # the planted fault: told to, it does measure
            measure(out, anew=True)


@pytest.mark.parametrize(
    ("field", "value"), [("engine", "onnxruntime 0.9"), ("clock", "wall"), ("device", "Abacus 3000")]
)
def test_a_table_of_something_else_is_not_added_to(tmp_path: Path, field: str, value: str) -> None:
    out = tmp_path / "t.json"
    table = measure(out)
    table.model_copy(update={"sessions": (table.session.model_copy(update={field: value}),)}).save(out)
    with pytest.raises(TableError, match=r"Tables never mix: choose another --out, or replace it with --anew"):
        measure(out, {"channels": (16,)})
    assert measure(out, {"channels": (16,)}, anew=True).session.engine == engine_version(TARGET)


def test_a_table_of_other_threads_is_not_added_to(tmp_path: Path) -> None:
    out = tmp_path / "t.json"
    measure(out)
    space, two = UNetSpace(), Target("cpu", "onnxruntime", "fp32", 2)
    with pytest.raises(TableError, match="Tables never mix"):
        measure_table(space, config(space), two, [(16, 16)], out, rules=QUICK)


def test_a_journal_of_another_target_is_left_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, space = tmp_path / "t.json", UNetSpace()
    with monkeypatch.context() as patch:
        die_at_batch(2, patch)
        with pytest.raises(KilledError):
            measure(out)
    assert (tmp_path / "t.partial.json").exists()
    two = Target("cpu", "onnxruntime", "fp32", 2)
    table = measure_table(space, config(space), two, [(16, 16)], out, rules=QUICK)
    assert len(table.sessions) == 1
    assert table.session.clock == "wall"


def test_a_batch_fits_into_memory_and_the_next_is_tied_to_it() -> None:
    space = UNetSpace()
    wide = space.parse_config({"channels": (16, 24), "blocks": 1, "unshuffle": 1})
    work, networks = Workload(space, wide, TARGET), calibration_picks(space, wide, 0)
    everything = [*work.networks(networks, (1024, 1024)), *work.chains((1024, 1024))]
    batches = work.batches((1024, 1024), networks)
    assert len(batches) > 1
    assert [subject.id for batch in batches for subject in batch.subjects] == [subject.id for subject in everything]
    assert all(batch.weight <= MOST_PIXELS for batch in batches)
    assert not batches[0].known
    first = {subject.id for subject in batches[0].subjects}
    for batch in batches[1:]:
        assert len(batch.known) == 2
        assert {subject.id for _, subject in batch.known} <= first
    (only,) = work.batches((64, 64), networks)
    assert len(only.subjects) == len(everything)


@pytest.mark.parametrize(
    ("sizes", "multiple", "expected"),
    [
        ([(64, 64)], 4, None),
        ([(128, 128), (256, 256), (512, 512)], 8, (384, 368)),
        ([(2, 2), (4, 4)], 2, None),  # rounded up it is one of them
        ([(16, 32), (64, 32)], 2, (40, 32)),
    ],
)
def test_the_unseen_size_lies_between_the_two_largest(
    sizes: list[tuple[int, int]], multiple: int, expected: tuple[int, int] | None
) -> None:
    assert unseen_size(sizes, multiple) == expected
