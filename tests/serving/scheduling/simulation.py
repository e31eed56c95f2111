"""A simulated machine on which costs are exact, and arrivals played on it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from serving.scheduling import Demand
from serving.scheduling.dispatcher import Dispatcher, Run
from serving.scheduling.entry import CodecStage, Entry, Job
from serving.scheduling.machine import Piece
from tests.serving.scheduling.known import strips


class NoWaiter:
    def done(self, result: object) -> None:
        pass

    def failed(self, error: BaseException) -> None:
        pass


@dataclass(frozen=True)
class Arrival:
    """A request of the simulation: when it comes, and how many seconds after that it has to be done."""

    at: float
    within: float
    demand: Demand


@dataclass
class Fate:
    arrival: Arrival
    entry: Entry | None = None
    bound: float = 0.0
    first_tile: float | None = None
    end: float | None = None


class Simulation:
    """Plays arrivals against a dispatcher on a machine that does exactly what was predicted.

    The machine of the simulation is its own: pieces progress at the same speed, `cores / wanted` if more is wanted than
    there is. Threads take work as those of `workers` do.
    """

    def __init__(self, dispatcher: Dispatcher, arrivals: Sequence[Arrival], *, checked: bool = True) -> None:
        self.dispatcher = dispatcher
        self.fates = [Fate(arrival) for arrival in sorted(arrivals, key=lambda arrival: arrival.at)]
        self.checked = checked
        self.now = 0.0
        self.jobs: list[tuple[Job, float]] = []
        self.runs: list[tuple[Run, float]] = []
        self.most_runs = 0
        self.log: list[tuple[float, Run]] = []
        self._of: dict[Entry, Fate] = {}

    def play(self) -> list[Fate]:
        coming = [(fate.arrival.at, number) for number, fate in enumerate(self.fates)]
        heapq.heapify(coming)
        for _ in range(1_000_000):
            wake = self._begin()
            speed = self._speed()
            ends = [left / speed for _, left in self.jobs] + [left / speed for _, left in self.runs]
            moments = [self.now + min(ends)] if ends else []
            moments += [coming[0][0]] if coming else []
            moments += [] if wake is None else [wake]
            if not moments:
                left = [fate for fate in self.fates if fate.entry and fate.end is None and fate.entry.alive]
                assert not left, "work is left and nothing runs"
                return self.fates
            self._advance(max(min(moments), self.now), speed)
            while coming and coming[0][0] <= self.now:
                self._arrive(self.fates[heapq.heappop(coming)[1]])
        raise AssertionError("the simulation does not end")

    def _speed(self) -> float:
        wanted = len(self.jobs) + sum(run.piece.cores for run, _ in self.runs)
        return min(1.0, self.dispatcher.machine.cores / wanted) if wanted else 1.0

    def _advance(self, moment: float, speed: float) -> None:
        passed, self.now = (moment - self.now) * speed, moment
        self.jobs = [(job, left - passed) for job, left in self.jobs]
        self.runs = [(run, left - passed) for run, left in self.runs]
        for job, _ in [item for item in self.jobs if item[1] <= 1e-12]:
            self.jobs = [item for item in self.jobs if item[0] is not job]
            self.dispatcher.finish_codec(job, self.now)
            self._next_stage(job)
        for run, _ in [item for item in self.runs if item[1] <= 1e-12]:
            self.runs = [item for item in self.runs if item[0] is not run]
            self.dispatcher.finish_run(run, self.now)
            for entry in run.entries:
                if entry.alive and not entry.tiles_left and not entry.tiles_running:
                    self._submit(entry, "encode", entry.demand.encode_s)

    def _next_stage(self, job: Job) -> None:
        entry = job.entry
        if not entry.alive:
            return
        if job.stage == "decode":
            self.dispatcher.offer(entry, strips(entry.demand.tiles))
        else:
            self._of[entry].end = self.now
            self.dispatcher.close(entry, self.now)

    def _submit(self, entry: Entry, stage: CodecStage, seconds: float) -> None:
        piece = Piece(seconds, 1.0, self.dispatcher.machine.codec_share)
        self.dispatcher.submit(Job(entry, stage, lambda: None, NoWaiter(), piece), self.now)

    def _arrive(self, fate: Fate) -> None:
        wanted, deadline = fate.arrival.demand, fate.arrival.at + fate.arrival.within
        found = self.dispatcher.predict(wanted, deadline, self.now)
        if self.checked and not (found.keeps_others and found.bound_s <= deadline - self.now):
            return
        fate.entry, fate.bound = self.dispatcher.admit(wanted, deadline), found.bound_s
        self._of[fate.entry] = fate
        self._submit(fate.entry, "decode", wanted.decode_s)

    def _begin(self) -> float | None:
        machine, wakes = self.dispatcher.machine, []
        long_jobs = len(self.jobs)
        while long_jobs < machine.cores + 1:
            job, until = self.dispatcher.pick_codec(self.now, express=long_jobs >= machine.cores)
            if job is None:
                wakes.append(until)
                break
            self.jobs.append((job, job.piece.seconds))
            long_jobs = len(self.jobs)
        while len(self.runs) < machine.slots:
            run, until = self.dispatcher.pick_run(self.now)
            if run is None:
                wakes.append(until)
                break
            self.runs.append((run, run.piece.seconds))
            self.log.append((self.now, run))
            for entry in run.entries:
                fate = self._of[entry]
                fate.first_tile = self.now if fate.first_tile is None else fate.first_tile
        self.most_runs = max(self.most_runs, len(self.runs))
        return min((wake for wake in wakes if wake is not None), default=None)
