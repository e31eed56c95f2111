"""What begins next: the decisions of the scheduler, without threads and with the time given from outside.

Everything here is called under one lock, or by a simulation.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from serving.scheduling.entry import Entry, Job
from serving.scheduling.fairness import FairOrder
from serving.scheduling.feasibility import Table, breaks_promise
from serving.scheduling.interfaces import Demand, Model, Restoration
from serving.scheduling.late import late_error
from serving.scheduling.machine import Machine, Piece
from serving.scheduling.observer import NOBODY, Observer
from serving.scheduling.room import Room

EXPRESS_S = 0.02
"""Codec jobs up to this long may use the one codec thread beyond the cores, so that they never wait for long ones."""

ROUNDING_S = 1e-6
"""A microsecond after its deadline a request is late: sums of seconds are exact to less than that."""

_SERIAL_AGE_S = 0.02


@dataclass(frozen=True)
class Run:
    """One batch for a slot: tiles of one model and one shape, each with whose it is and its number there."""

    model: Model
    tile: tuple[int, int]
    tiles: tuple[tuple[Entry, int], ...]
    piece: Piece

    @property
    def entries(self) -> list[Entry]:
        """Whose tiles it holds, each once."""
        return list(dict.fromkeys(entry for entry, _ in self.tiles))


@dataclass(frozen=True)
class Prediction:
    """What admission of a request would mean.

    Attributes:
        expected_s: Seconds until it is done if slots are shared fairly and nobody else comes.
        bound_s: Seconds until it is done at the latest, whoever comes.
        alone_s: Seconds on an idle server.
        keeps_others: Whether every admitted request still makes its deadline.
    """

    expected_s: float
    bound_s: float
    alone_s: float
    keeps_others: bool


class Dispatcher:
    """Admitted requests and what runs of them.

    Args:
        slots: Runs at the same time.
        cores: Processor cores, which is also how many long codec jobs run at the same time.
        picture_bytes: Room for decoded pictures.
        observer: Told of requests that are dropped at their deadline.
    """

    def __init__(self, slots: int, cores: int, picture_bytes: int, observer: Observer = NOBODY) -> None:
        self.machine = Machine(slots, cores)
        self.room = Room(picture_bytes)
        self.entries: list[Entry] = []
        self.fair = FairOrder()
        self.running: list[Run] = []
        self.codecs_running = 0
        self.codecs_waiting: list[Job] = []
        self._parked: dict[Entry, Job] = {}
        self._number = 0
        self._serial = (-1.0, 0.0)
        self._observer = observer
        self.late = 0

    # Admission

    def table(self, now: float) -> Table:
        """Bounds of all that is admitted."""
        self.machine.advance(now)
        return Table(self.entries, self.machine, now, self.room.is_crowded(self.entries))

    def predict(self, demand: Demand, deadline: float, now: float) -> Prediction:
        """What would happen if this were admitted; changes nothing."""
        new = self._entry(demand, deadline)
        self.machine.advance(now)
        after = self._table_with(new, now)
        alone = new.load + new.path
        row = next(row for row in after.rows if row.entry is new)
        keeps = all(row.safe or row.lost for row in after.rows if row.entry is not new)
        if not keeps:
            keeps = not breaks_promise(self.table(now), after)
        return Prediction(min(row.bound, self._fair_share(new)), row.bound, alone, keeps)

    def admit(self, demand: Demand, deadline: float) -> Entry:
        """Takes a request, whatever was predicted."""
        entry = self._entry(demand, deadline)
        self._number += 1
        self._serial = (self._serial[0], self._serial[1] + entry.serial)
        insort(self.entries, entry, key=lambda other: other.key)
        return entry

    def backlog(self, now: float) -> float:
        """Seconds of the whole machine until everything admitted is done."""
        self.machine.advance(now)
        running = sum(piece.left * piece.share for piece in self.machine.pieces)
        return running + sum(entry.load for entry in self.entries)

    def backlog_before(self, deadline: float, now: float) -> float:
        """The same for what has to be done before a request of this deadline: less than any bound of it."""
        self.machine.advance(now)
        left = max(deadline - now, 0.0)
        running = sum(min(piece.left, left) * piece.share for piece in self.machine.pieces)
        return running + sum(entry.load for entry in self.entries if entry.deadline <= deadline)

    # Stages of one request

    def submit(self, job: Job, now: float) -> None:
        """A codec stage wants to run; decoding waits for room first."""
        entry = job.entry
        if job.stage == "decode":
            self._parked[entry] = job
            self.room.ask(entry)
            self.grant(now)
        else:
            insort(self.codecs_waiting, job, key=_job_key)

    def offer(self, entry: Entry, restoration: Restoration) -> None:
        """The tiles of a picture may run; there may be more or fewer of them than was predicted."""
        entry.restoration = restoration
        entry.tiles_left = len(restoration.tiles)
        entry.shape = restoration.tile_shape
        self.fair.join(entry)

    @property
    def tiles_ready(self) -> bool:
        """Whether a tile waits for a slot."""
        return any(entry.ready for entry in self.entries)

    def close(self, entry: Entry, now: float) -> None:
        """Nobody waits for this request any more; what runs of it ends by itself."""
        entry.closed = True
        self._forget(entry)
        self._release(entry, now)

    def fail(self, entry: Entry, error: BaseException) -> None:
        """Nothing more of this request begins."""
        self._forget(entry)
        entry.fail(error)

    def drop(self, entry: Entry, error: BaseException) -> None:
        """Ends a request because its time is up."""
        self.late += 1
        self._observer.late()
        self.fail(entry, error)

    # Slots

    def pick_run(self, now: float) -> tuple[Run | None, float | None]:
        """The next batch for an idle slot, begun; or None, and until when at most to wait if tiles are held back."""
        self._drop_late(now)
        ready = [entry for entry in self.entries if entry.ready]
        if not ready or len(self.running) >= self.machine.slots:
            return None, None
        order = self.fair.order(ready)
        alone = len(ready) == 1 or order[0].model.costs.batch == 1
        if alone and self._is_easy(order[0], _own_seconds(order[0]), now):
            return self._begin(order[0], order, None, now), None
        table = self.table(now)
        chosen, until = order[0], None
        if not table.allows(chosen, _own_seconds(chosen), chosen.share):
            chosen = ready[0]
            until = table.held_until(chosen, _own_seconds(chosen), chosen.share)
        return (self._begin(chosen, order, table, now), None) if until is None else (None, until)

    def finish_run(self, run: Run, now: float) -> None:
        """A batch has ended, well or not."""
        self.machine.finish(run.piece, now)
        self.running.remove(run)
        for entry in run.entries:
            entry.end(run.piece, now)
        for entry, _ in run.tiles:
            entry.tiles_running -= 1
        for entry in run.entries:
            self._release(entry, now)

    # Codec threads

    def pick_codec(self, now: float, *, express: bool) -> tuple[Job | None, float | None]:
        """The next codec job for an idle thread, begun; or None, and until when at most to wait if one is held back."""
        self._drop_late(now)
        moments = []
        table = None
        for job in self.codecs_waiting:
            if express and job.piece.seconds > EXPRESS_S:
                continue
            until = None
            if not self._is_easy(job.entry, job.piece.seconds, now):
                table = table or self.table(now)
                if not table.allows(job.entry, job.piece.seconds, job.piece.share):
                    until = table.held_until(job.entry, job.piece.seconds, job.piece.share)
            if until is None:
                self.codecs_waiting.remove(job)
                self._begin_codec(job, now)
                return job, None
            moments.append(until)
        return None, min(moments, default=None)

    def finish_codec(self, job: Job, now: float) -> None:
        """A codec job has ended, well or not."""
        self.machine.finish(job.piece, now)
        self.codecs_running -= 1
        job.entry.end(job.piece, now)
        self._release(job.entry, now)

    def grant(self, now: float) -> None:
        """Gives memory room to whom it can."""
        while self.room.waiting:
            granted = self.room.grant(self.table(now))
            if not granted:
                return
            for entry in granted:
                insort(self.codecs_waiting, self._parked.pop(entry), key=_job_key)

    # Inside

    def _entry(self, demand: Demand, deadline: float) -> Entry:
        return Entry(demand, deadline, self._number, self.machine)

    def _table_with(self, new: Entry, now: float) -> Table:
        entries = list(self.entries)
        insort(entries, new, key=lambda other: other.key)
        return Table(entries, self.machine, now, self.room.is_crowded(entries))

    def _fair_share(self, new: Entry) -> float:
        load = new.load
        running = sum(piece.left * piece.share for piece in self.machine.pieces)
        return running + sum(min(entry.load, load) for entry in self.entries) + load + new.path

    def _is_easy(self, entry: Entry, seconds: float, now: float) -> bool:
        """Whether a piece may begin without asking the table: it is first, or no deadline is anywhere near.

        The seconds of all that was left a moment ago, one piece after the other, are more than any bound is now.
        """
        first = self.entries[0]
        if entry is first:
            return True
        moment, serial = self._serial
        if not moment <= now <= moment + _SERIAL_AGE_S:
            self.machine.advance(now)
            running = sum(piece.left for piece in self.machine.pieces)
            serial = running + sum(other.serial for other in self.entries)
            self._serial = now, serial
        return first.deadline - now >= serial + seconds

    def _drop_late(self, now: float) -> None:
        while self.entries and self.entries[0].deadline < now - ROUNDING_S:
            self.drop(self.entries[0], late_error())

    def _forget(self, entry: Entry) -> None:
        if entry in self.entries:
            self.entries.remove(entry)
        self.room.forget(entry)
        if self._parked.pop(entry, None) is None:
            self.codecs_waiting = [job for job in self.codecs_waiting if job.entry is not entry]

    def _release(self, entry: Entry, now: float) -> None:
        if entry.closed and not entry.pieces:
            self.room.leave(entry)
            entry.restoration = None
        self.grant(now)

    def _begin_codec(self, job: Job, now: float) -> None:
        if job.stage == "decode":
            job.entry.decode_left = False
        else:
            job.entry.encode_left = False
        self.machine.start(job.piece, now)
        self.codecs_running += 1
        job.entry.begin(job.piece, now)

    def _begin(self, first: Entry, order: list[Entry], table: Table | None, now: float) -> Run:
        """Fills a batch, led by `first`, with tiles that are ready, and begins it. It never waits for more."""
        costs, shape = first.model.costs, first.shape
        counts = {first: min(first.tiles_left, costs.batch)}
        each = costs.per_tile(shape)
        if table is not None:
            for entry in order:
                free = costs.batch - sum(counts.values())
                if free == 0:
                    break
                if entry in counts or entry.model is not first.model or entry.shape != shape:
                    continue
                wanted = min(free, entry.tiles_left)
                total = costs.seconds(shape, sum(counts.values()) + wanted)
                if _may_ride(entry, counts, table, total):
                    counts[entry] = wanted
        seconds = costs.seconds(shape, sum(counts.values()))
        piece = Piece(seconds, float(costs.cores), first.share)
        tiles: list[tuple[Entry, int]] = []
        self.machine.start(piece, now)
        for entry, count in counts.items():
            tiles += [(entry, entry.tiles_begun + number) for number in range(count)]
            entry.tiles_begun += count
            entry.tiles_left -= count
            entry.tiles_running += count
            entry.begin(piece, now)
            own = costs.seconds(shape, count) if entry is first else each * count
            self.fair.serve(entry, own, leads=entry is first)
        run = Run(first.model, shape, tuple(tiles), piece)
        self.running.append(run)
        return run


def _own_seconds(entry: Entry) -> float:
    costs = entry.model.costs
    return costs.seconds(entry.shape, min(entry.tiles_left, costs.batch))


def _job_key(job: Job) -> tuple[float, int]:
    return job.entry.key


def _may_ride(entry: Entry, riders: dict[Entry, int], table: Table, total: float) -> bool:
    """Whether tiles of `entry` may make a batch longer: no promise to riders or to earlier requests is broken by it.

    Args:
        entry: Whose tiles would be added.
        riders: Whose tiles are in the batch.
        table: Before the batch.
        total: Seconds of the batch with these tiles; what it is longer by is less, so this errs on the safe side.
    """
    if table.held_until(entry, total, entry.share) is not None:
        return False
    concerned = (row for row in table.rows if row.entry is entry or row.entry in riders)
    return all(row.slack >= total or not row.safe for row in concerned)
