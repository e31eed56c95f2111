"""What is left to do for one admitted request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from serving.scheduling.interfaces import Demand, Model, Restoration
from serving.scheduling.machine import Machine, Piece

CodecStage = Literal["decode", "encode"]


class Waiter(Protocol):
    """Who waits for a stage; called from any thread, at most once with effect, never blocking."""

    def done(self, result: Any) -> None:
        """The stage is done."""

    def failed(self, error: BaseException) -> None:
        """The stage will not be done."""


class Left(NamedTuple):
    """Seconds of what has not begun of a request: of the whole machine, in a row, and beyond shares (see `path`)."""

    load: float
    serial: float
    codec_path: float
    run_path: float


@dataclass(eq=False)
class Job:
    """A codec stage of one request that waits for room and for a thread."""

    entry: Entry
    stage: CodecStage
    work: Callable[[], Any]
    waiter: Waiter
    piece: Piece


@dataclass(eq=False)
class Entry:
    """One admitted request. All fields are guarded by the scheduler's lock.

    Attributes:
        demand: What it needs.
        deadline: Moment by which it has to be answered.
        number: In order of admission.
        machine: Where it runs.
        decode_left: Whether decoding has not begun.
        encode_left: Whether encoding has not begun.
        tiles_left: Tiles that have not begun.
        tiles_running: Tiles in runs in progress.
        restoration: The picture, once its tiles may run.
        granted: Whether it holds its room for pictures.
        tag: Virtual time at which its next tile is due in fair order.
        pieces: What of it runs now.
        error: What ended it, if something did.
        closed: Whether nobody waits for it any more.
    """

    demand: Demand
    deadline: float
    number: int
    machine: Machine
    decode_left: bool = True
    encode_left: bool = True
    tiles_left: int = 0
    tiles_running: int = 0
    tiles_begun: int = 0
    restoration: Restoration | None = None
    waiter: Waiter | None = None
    granted: bool = False
    blocked_since: float | None = None
    tag: float = 0.0
    pieces: list[Piece] = field(default_factory=list)
    error: BaseException | None = None
    closed: bool = False
    busy_s: float = 0.0
    busy_since: float = 0.0
    _left: Left | None = None
    _left_of: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        self.tiles_left = self.demand.tiles
        self.shape = self.demand.tile
        self.share = self.machine.run_share(self.model.costs.cores)

    @property
    def model(self) -> Model:
        """Its network."""
        return self.demand.model

    @property
    def key(self) -> tuple[float, int]:
        """Its place in order of deadlines."""
        return self.deadline, self.number

    @property
    def alive(self) -> bool:
        """Whether more of it may begin."""
        return self.error is None and not self.closed

    @property
    def ready(self) -> bool:
        """Whether a tile of it may begin."""
        return self.restoration is not None and self.tiles_left > 0 and self.alive

    @property
    def left(self) -> Left:
        """What has not begun, as costs are now."""
        # Asked for every request at every decision, so it is kept until a piece begins or costs change.
        costs = self.model.costs
        state = (self.tiles_left, self.decode_left, self.encode_left, costs.factor, self.shape)
        if self._left is None or self._left_of != state:
            codec = (self.demand.decode_s if self.decode_left else 0.0) + (
                self.demand.encode_s if self.encode_left else 0.0
            )
            engine = costs.work(self.shape, self.tiles_left) if self.tiles_left else 0.0
            run = costs.seconds(self.shape, min(self.tiles_left, costs.batch)) if self.tiles_left else 0.0
            share = self.machine.codec_share
            load = codec * share + engine * self.share
            self._left = Left(load, codec + engine, codec * (1.0 - share), run * (1.0 - self.share))
            self._left_of = state
        return self._left

    @property
    def load(self) -> float:
        """Seconds of the whole machine for what has not begun."""
        return self.left.load

    @property
    def serial(self) -> float:
        """Seconds of what has not begun, one piece after the other."""
        return self.left.serial

    @property
    def path(self) -> float:
        """Seconds that its longest chain of pieces adds to `load` because one piece cannot use the whole machine."""
        left = self.left
        codec, run = left.codec_path, left.run_path
        if not self.pieces:
            return codec + run
        for piece in self.pieces:
            rest = piece.left * (1.0 - piece.share)
            if self.tiles_running:
                run = max(run, rest)  # runs go side by side
            else:
                codec += rest  # decoding and encoding go before and after all runs
        return codec + run

    def begin(self, piece: Piece, now: float) -> None:
        """One more piece of it runs."""
        if not self.pieces:
            self.busy_since = now
        self.pieces.append(piece)

    def end(self, piece: Piece, now: float) -> None:
        """A piece of it has ended."""
        self.pieces.remove(piece)
        if not self.pieces:
            self.busy_s += now - self.busy_since

    def fail(self, error: BaseException) -> None:
        """Nothing more of it begins, and who waits is told; later errors change nothing."""
        if self.error is None:
            self.error = error
        if self.waiter is not None:
            self.waiter.failed(self.error)
            self.waiter = None
