"""Does a table still hold on this machine? A sample, or all, of its timings are taken again and compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime import Target, Timing, device_name, engine_version
from search.latency.calibration import fit_calibration, sum_of_rows
from search.latency.chains import solve_rows
from search.latency.measure import RULES, Rules, Workload
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject, time_graphs
from search.latency.table import LatencyTable, Measured

SAME = 0.20
"""Timings of one graph in two sittings that differ by no more than this are the same."""
SIGMAS = 4.0
"""Beyond that, differences of so many standard errors are still noise."""
CALM = 0.25
"""A machine slower or faster by more than this, against the table's anchor, is not the one that was measured."""


@dataclass(frozen=True)
class Deviation:
    """A timing that came out otherwise: `ratio` is now over then, at the same speed of the machine."""

    what: str
    height: int
    width: int
    then_ms: float
    now_ms: float

    @property
    def ratio(self) -> float:
        """Now over then."""
        return self.now_ms / self.then_ms


@dataclass(frozen=True)
class TableCheck:
    """What a check found.

    Attributes:
        inconsistent: Parts of the file that do not follow from its own timings.
        deviations: Timings that came out otherwise, the worst first.
        compared: How many timings were taken again.
        typical: Median of now over then.
        slowdown: The anchor in quieter moments now, over what the table says: how much slower the machine is today.
    """

    inconsistent: tuple[str, ...]
    deviations: tuple[Deviation, ...]
    compared: int
    typical: float
    slowdown: float

    @property
    def holds(self) -> bool:
        """May the table be used?"""
        return not self.inconsistent and not self.deviations

    @property
    def calm(self) -> bool:
        """Is the machine about as fast as when the table was measured?"""
        return abs(self.slowdown - 1.0) <= CALM


def check_table(
    table: LatencyTable, target: Target, *, seed: int = 0, rules: Rules = RULES, share: float = 1.0
) -> TableCheck:
    """Check a table against itself, and take its timings again.

    Args:
        table: To be checked.
        target: Of this machine; the table has to be of it.
        seed: Order of turns, and which timings are sampled.
        rules: When timings count as settled.
        share: Of the chains and networks at each size, in (0, 1]; at least three of each.

    Raises:
        TableError: The table is of another target, device, engine or engine version, or lacks a row.
    """
    model = LatencyModel(table)
    table.require(target, model.space, model.config, device_name(target), engine_version(target))
    deviations: list[Deviation] = []
    ratios: list[float] = []
    anchors: list[float] = []
    for size, subjects, entries in _work(model, target, share, seed):
        known = dict(zip((subject.id for subject in subjects), entries, strict=True))
        timings, anchor = time_graphs(subjects, target, rules.of(subjects), seed=seed)
        anchors.append(anchor.ms)
        ratios += [timings[name].ratio * table.anchor_ms / then.ms for name, then in known.items()]
        doubtful = [subject for subject in subjects if _differs(timings[subject.id], known[subject.id], table)]
        if doubtful:
            # A second look: on a busy machine one in ten timings is off, but not the same one twice.
            timings, _ = time_graphs(doubtful, target, rules.of(doubtful), seed=seed + 1)
            deviations += [
                Deviation(subject.id, *size, known[subject.id].ms, timings[subject.id].ratio * table.anchor_ms)
                for subject in doubtful
                if _differs(timings[subject.id], known[subject.id], table)
            ]
    return TableCheck(
        inconsistent=inconsistencies(model),
        deviations=tuple(sorted(deviations, key=lambda d: -abs(math.log(d.ratio)))),
        compared=len(ratios),
        typical=float(np.median(ratios)),
        slowdown=float(np.median(anchors)) / table.anchor_ms,
    )


def _differs(now: Timing, then: Measured, table: LatencyTable) -> bool:
    """Is a timing another than the table's, beyond what noise explains?"""
    difference = abs(math.log(now.ratio * table.anchor_ms / then.ms))
    return difference > max(math.log1p(SAME), SIGMAS * math.hypot(now.error, then.error))


def inconsistencies(model: LatencyModel) -> tuple[str, ...]:
    """Rows and calibrations of a table that do not follow from its timings; an edited file is found without a clock."""
    found: list[str] = []
    workload = Workload(model.space, model.config, Target.parse(model.table.target))
    for size in model.table.sizes:
        place = f"{size.width}x{size.height}"
        chain_ms = {entry.id: entry.ms for entry in size.chains}
        needed = {chain.id for group in workload.groups for chain in group}
        if lacking := sorted(needed - set(chain_ms)):
            found.append(f"{place}: no timing of {', '.join(lacking)}")
            continue
        solved = solve_rows(workload.groups, chain_ms)
        largest = max(solved.values())
        for row in size.rows:
            expected = solved.get(row.key, math.nan)
            # Against the dearest row: one that is nearly free may be anything next to nothing.
            if not math.isclose(row.ms, expected, rel_tol=1e-3, abs_tol=1e-4 * largest):
                found.append(f"{place}: row {row.key} is {row.ms:.4g} ms, its timings say {expected:.4g} ms")
        sums = [
            sum_of_rows(model.space, model.config, solved, model.table.networks.get(entry.id, {}))
            for entry in size.calibration.networks
        ]
        line = fit_calibration(sums, size.calibration.networks)
        for name in ("intercept_ms", "slope"):
            stated, follows = getattr(size.calibration, name), getattr(line, name)
            if not math.isclose(stated, follows, rel_tol=1e-3, abs_tol=1e-4 * largest):
                found.append(f"{place}: calibration's {name} is {stated:.4g}, its timings say {follows:.4g}")
    return tuple(found)


_Work = tuple[tuple[int, int], list[Subject], list[Measured]]


def _work(model: LatencyModel, target: Target, share: float, seed: int) -> list[_Work]:
    """A batch for each size: subjects, and what the table says of them."""
    table, rng = model.table, np.random.default_rng(seed)
    workload = Workload(model.space, model.config, target)
    found: list[_Work] = []
    for size in table.sizes:
        place = (size.height, size.width)
        picks = {entry.id: table.networks[entry.id] for entry in size.calibration.networks}
        known = {entry.id: entry for entry in (*size.chains, *size.calibration.networks)}
        chosen = [
            *_sample(workload.chains(place), share, rng),
            *_sample(workload.networks(picks, place), share, rng),
        ]
        found.append((place, chosen, [known[subject.id] for subject in chosen]))
    return found


def _sample(subjects: Sequence[Subject], share: float, rng: np.random.Generator) -> list[Subject]:
    count = min(len(subjects), max(3, math.ceil(share * len(subjects))))
    return [subjects[n] for n in sorted(rng.choice(len(subjects), count, replace=False))]
