"""Measuring a latency table: chains of carriers, whole networks to calibrate against, and networks to check it with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from export import export_onnx
from models import Space, SpaceConfig
from runtime import StabilityRule, Target
from search.budget import round_up
from search.latency.calibration import (
    Picks,
    calibration_picks,
    finalist_picks,
    fit_calibration,
    held_out,
    sum_of_rows,
    unseen_picks,
)
from search.latency.chains import is_chain, plan_chains, solve_rows
from search.latency.journal import Journal
from search.latency.linked import Yardstick, time_linked
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject
from search.latency.table import Check, CheckKind, LatencyTable, Row, SizeTable
from training.telemetry import SILENT, Progress, Telemetry

RETRIES = 6
"""At most so many timings per size that did not settle are taken up again at the end."""
YARDSTICKS = 3
"""Calibration networks that are timed again beside the networks of the checks: the last ones, which are random."""
MOST_PIXELS = 16 * 512 * 512
"""Pixels of all inputs that are timed in one batch. Every graph keeps its memory while others run; ONNX Runtime was
seen to hold about a kilobyte per pixel of a restoration network's input, so a batch takes four gigabytes at most."""
FEW_YARDSTICKS = 2
"""Networks that are timed again beside chains that found no room in the first batch."""


@dataclass(frozen=True)
class Rules:
    """When timings count as settled: those of chains, whose errors average out in a network, and those of networks."""

    chains: StabilityRule
    networks: StabilityRule

    def of(self, subjects: Sequence[Subject]) -> dict[str, StabilityRule]:
        """The rule of each subject."""
        return {s.id: self.chains if is_chain(s.id) else self.networks for s in subjects}

    def within(self, seconds: float) -> "Rules":
        """The same with no more than so many seconds for a chain, and twice as many for a network."""
        return Rules(replace(self.chains, max_seconds=seconds), replace(self.networks, max_seconds=2 * seconds))


RULES = Rules(
    chains=StabilityRule(min_runs=5, max_runs=9, tolerance=0.02, max_seconds=2.0),
    networks=StabilityRule(min_runs=8, max_runs=12, tolerance=0.012, max_seconds=5.0),
)


@dataclass(frozen=True)
class Batch:
    """Graphs that are timed together, at one (height, width) of the network's input.

    Attributes:
        size: Of the network's input; a graph's own may be a part of it.
        subjects: What is timed.
        known: Names of calibration networks, and the size at which they were timed before: yardsticks.
    """

    size: tuple[int, int]
    subjects: list[Subject]
    known: tuple[tuple[tuple[int, int], Subject], ...] = ()

    @property
    def weight(self) -> int:
        """About how long it takes, for the progress bar: pixels."""
        subjects = [*self.subjects, *(subject for _, subject in self.known)]
        return sum(subject.size[0] * subject.size[1] for subject in subjects)


def measure_table(
    space: Space[Any],
    config: SpaceConfig,
    target: Target,
    sizes: Sequence[tuple[int, int]],
    out: Path,
    *,
    seed: int = 0,
    rules: Rules = RULES,
    code_version: str = "",
    anew: bool = False,
    telemetry: Telemetry = SILENT,
) -> LatencyTable:
    """Measure every row that the space can ask for, calibrate on whole networks, check the result, write the table.

    Killed, it goes on with what is missing. A table that is at `out` already is added to: only graphs that it does not
    have, at sizes that it does not have, are timed.

    Args:
        space: What to price.
        config: Its config.
        target: Where.
        sizes: (height, width) inputs; each is rounded up to what the space's networks accept.
        out: The table's JSON file.
        seed: Random networks and order of turns.
        rules: When timings count as settled.
        code_version: Recorded as provenance.
        anew: Take nothing from a table at `out`.
        telemetry: Is told of every batch; the caller says that this is a stage.

    Raises:
        TableError: The table at `out` is of another target, device, engine or schema.
    """
    there = LatencyTable.load(out) if out.is_file() and not anew else None
    journal = Journal(out.with_suffix(".partial.json"), target, there, code_version)
    multiple = space.build(space.genotype(config, space.reference_picks(config))).multiple
    padded = sorted({(round_up(h, multiple), round_up(w, multiple)) for h, w in sizes}, key=lambda s: s[0] * s[1])
    between = unseen_size(padded, multiple)
    networks, others = calibration_picks(space, config, seed), unseen_picks(space, config, seed)
    work = Workload(space, config, target)
    timer = _Timer(journal, target, rules, seed, telemetry)

    batches = [batch for size in padded for batch in work.batches(size, networks)]
    to_follow = 1 if between is None else 2
    timer.run([timer.missing(batch, networks) for batch in batches], f"measuring {space.name}", to_follow)
    if between is not None:
        unseen = Batch(between, work.networks(others, between), work.yardsticks(networks, padded[-2]))
        timer.run([timer.missing(unseen, {})], "measuring networks at an unseen size", 1)
    again = [replace(batch, subjects=journal.unstable(batch.size, batch.subjects)[:RETRIES]) for batch in batches]
    timer.run(
        [replace(batch, known=work.yardsticks(networks, batch.size)[-FEW_YARDSTICKS:]) for batch in again],
        "measuring again what did not settle",
        1,
    )
    finalists = finalist_picks(LatencyModel(work.table(padded, networks, journal)), padded[-1], seed)
    final = Batch(padded[-1], work.networks(finalists, padded[-1]), work.yardsticks(networks, padded[-1]))
    timer.run([timer.missing(final, {})], "measuring networks at the optimum")
    timer.finish()

    # Put together anew: the last batch may have shown the machine quieter than it was seen before.
    table = work.table(padded, networks, journal)
    model = LatencyModel(table)
    checks = [*table.checks, _check("optimum", model, finalists, final, journal)]
    if between is not None:
        checks.append(_check("unseen-size", model, others, unseen, journal))
    timed = {**networks, **(others if between else {}), **finalists}
    table = table.model_copy(update={"checks": tuple(checks), "networks": timed})
    table.save(out)
    journal.close()
    return table


class Workload:
    """The graphs of a space, exported once each.

    Args:
        space: Whose.
        config: Its config.
        target: Whose precision they are exported in.
    """

    def __init__(self, space: Space[Any], config: SpaceConfig, target: Target) -> None:
        self.space, self.config, self.target = space, config, target
        self.groups = plan_chains(space.carriers(config))
        self._graphs: dict[str, bytes] = {}

    def chains(self, size: tuple[int, int]) -> list[Subject]:
        """All chains, each at its part of the network's input size."""
        subjects = []
        for chain in (chain for group in self.groups for chain in group):
            if chain.id not in self._graphs:
                self._graphs[chain.id] = export_onnx(chain.module(), precision=self.target.precision)
            divisor = chain.carrier.divisor
            subjects.append(Subject(chain.id, self._graphs[chain.id], (size[0] // divisor, size[1] // divisor)))
        return subjects

    def batches(self, size: tuple[int, int], networks: Mapping[str, Picks]) -> list[Batch]:
        """Everything that a table holds at one size.

        In one batch if it fits into memory, so that a slow minute hits chains and networks alike; chains that do not
        fit follow, each batch with networks of the first as yardsticks.
        """
        batches: list[Batch] = []
        taken = MOST_PIXELS + 1
        for subject in (*self.networks(networks, size), *self.chains(size)):
            pixels = subject.size[0] * subject.size[1]
            if taken + pixels > MOST_PIXELS:
                timed = [subject for subject in batches[0].subjects if subject.id in networks] if batches else []
                known = tuple((size, subject) for subject in timed[-FEW_YARDSTICKS:])
                batches.append(Batch(size, [], known))
                taken = sum(yardstick.size[0] * yardstick.size[1] for _, yardstick in known)
            batches[-1].subjects.append(subject)
            taken += pixels
        return batches

    def networks(self, picks: Mapping[str, Picks], size: tuple[int, int]) -> list[Subject]:
        """Whole networks."""
        return [Subject(name, self.network(entry), size) for name, entry in picks.items()]

    def yardsticks(
        self, networks: Mapping[str, Picks], size: tuple[int, int]
    ) -> tuple[tuple[tuple[int, int], Subject], ...]:
        """A few of the calibration networks, at a size at which they are timed."""
        few = dict(list(networks.items())[-YARDSTICKS:])
        return tuple((size, subject) for subject in self.networks(few, size))

    def network(self, picks: Picks) -> bytes:
        """A whole network as ONNX, with seeded weights."""
        genotype = self.space.genotype(self.config, picks)
        if genotype.id not in self._graphs:
            # Seeded, so that the same network is the same file, and is known when measuring is taken up again.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = self.space.build(genotype)
            self._graphs[genotype.id] = export_onnx(
                network, network.multiple, network.scale, precision=self.target.precision
            )
        return self._graphs[genotype.id]

    def table(self, sizes: Sequence[tuple[int, int]], networks: Mapping[str, Picks], journal: Journal) -> LatencyTable:
        """The table of what the journal holds, with its held-out errors."""
        parts = [self._size_table(size, networks, journal) for size in sizes]
        return LatencyTable(
            target=self.target.slug,
            space=self.space.name,
            space_version=self.space.version,
            space_config=self.config.model_dump(mode="json"),
            anchor_ms=journal.anchor_ms,
            sessions=tuple(journal.sessions),
            sizes=tuple(parts),
            checks=tuple(held_out((part.height, part.width), part.calibration) for part in parts),
            networks=dict(networks),
        )

    def _size_table(self, size: tuple[int, int], networks: Mapping[str, Picks], journal: Journal) -> SizeTable:
        """The rows at one size, solved and calibrated."""
        whole = self.networks(networks, size)
        chains = [journal.measured(size, subject) for subject in self.chains(size)]
        rows = solve_rows(self.groups, {entry.id: entry.ms for entry in chains})
        sums = [sum_of_rows(self.space, self.config, rows, networks[subject.id]) for subject in whole]
        timed = [journal.measured(size, subject) for subject in whole]
        return SizeTable(
            height=size[0],
            width=size[1],
            rows=tuple(Row.of(key, ms) for key, ms in rows.items()),
            chains=tuple(chains),
            calibration=fit_calibration(sums, timed),
        )


class _Timer:
    """Times batches into a journal, with a progress bar."""

    def __init__(self, journal: Journal, target: Target, rules: Rules, seed: int, telemetry: Telemetry) -> None:
        self._journal, self._target, self._rules, self._seed = journal, target, rules, seed
        self._telemetry = telemetry
        self._done = 0

    def missing(self, batch: Batch, networks: Mapping[str, Picks]) -> Batch:
        """What the journal does not hold yet; calibration networks that it does hold become yardsticks."""
        new = [subject for subject in batch.subjects if not self._journal.known(batch.size, subject)]
        held = [s for s in batch.subjects if s.id in networks and s not in new][-YARDSTICKS:]
        return replace(batch, subjects=new, known=(*batch.known, *((batch.size, subject) for subject in held)))

    def run(self, batches: Sequence[Batch], title: str, to_follow: int = 0) -> None:
        """Time batches one after the other.

        Args:
            batches: Those without subjects are left out.
            title: Of the progress bar.
            to_follow: How many batches are known to come after these.
        """
        todo = [batch for batch in batches if batch.subjects]
        total = self._done + len(todo) + to_follow

        def progress() -> Progress:
            return Progress(self._done, total)

        # In pixels, so that the time left is about right although batches at small sizes come first.
        form = "{desc}: {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left{postfix}"
        with tqdm(total=sum(batch.weight for batch in todo), desc=title, bar_format=form, disable=not todo) as bar:
            for batch in todo:
                bar.set_postfix_str(f"{len(batch.subjects)} graphs at {batch.size[1]}x{batch.size[0]}")
                start = bar.n

                def on_round(done: int, _: int, batch: Batch = batch, start: float = start) -> None:
                    bar.update(start + batch.weight * min(1.0, done / self._rules.networks.max_runs) - bar.n)
                    # A batch may take minutes, and a run that says nothing for long seems to be stuck.
                    self._telemetry.report(progress)

                yardsticks = [Yardstick(subject, self._journal.ratio(size, subject)) for size, subject in batch.known]
                timings, anchor = time_linked(
                    batch.subjects,
                    yardsticks,
                    self._target,
                    self._rules.of(batch.subjects),
                    seed=self._seed,
                    on_round=on_round,
                )
                self._journal.keep(batch.size, batch.subjects, timings, anchor)
                bar.update(start + batch.weight - bar.n)
                self._done += 1
                self._telemetry.report(progress)

    def finish(self) -> None:
        """Tell that no batch is left."""
        steps = max(1, self._done)
        self._telemetry.report(lambda: Progress(steps, steps), force=True)


def unseen_size(sizes: Sequence[tuple[int, int]], multiple: int) -> tuple[int, int] | None:
    """A size between the two largest of `sizes`, of another shape; None where there is no room for one."""
    if len(sizes) < 2:
        return None
    (low_height, low_width), (height, width) = sizes[-2:]
    found = (
        round_up(round((low_height + height) / 2), multiple),
        round_up(round((low_width * width) ** 0.5), multiple),
    )
    return None if found in sizes else found


def _check(kind: CheckKind, model: LatencyModel, picks: Mapping[str, Picks], batch: Batch, journal: Journal) -> Check:
    predicted = tuple(model.predict(picks[subject.id], *batch.size).ms for subject in batch.subjects)
    return Check.of(kind, batch.size, predicted, tuple(journal.measured(batch.size, s) for s in batch.subjects))
