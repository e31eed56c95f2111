"""One admitted request as its coroutine sees it: three stages to await, none of which blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from serving.errors import DeadlineExceededError, RequestError
from serving.scheduling.entry import CodecStage, Entry, Job
from serving.scheduling.interfaces import Restoration
from serving.scheduling.late import late_error
from serving.scheduling.machine import Piece

if TYPE_CHECKING:
    from serving.scheduling.scheduler import Scheduler

T = TypeVar("T")
ScheduledStage = Literal["queue", "decode", "inference", "encode"]


class Admission:
    """The reservation of one request. Leave it (`with`) whatever happened: that gives everything back.

    Stages are awaited one after the other, from one task. Cancelling that task, `revoke` and the deadline stop the work
    at the next tile; what runs ends first, and only then its slot and its memory are free.

    Attributes:
        predicted_s: Seconds until it is done, as expected when it was admitted.
        bound_s: Seconds until it is done at the latest, as promised when it was admitted.
        seconds: What each stage has taken so far; `queue` is all waiting, for memory, threads and slots.
    """

    def __init__(self, scheduler: Scheduler, entry: Entry, predicted_s: float, bound_s: float) -> None:
        self.predicted_s = predicted_s
        self.bound_s = bound_s
        self.seconds: dict[ScheduledStage, float] = {"queue": 0.0}
        self._scheduler = scheduler
        self._entry = entry

    @property
    def deadline(self) -> float:
        """Moment by which it has to be answered, by the scheduler's clock."""
        return self._entry.deadline

    @property
    def error(self) -> BaseException | None:
        """What ended it, if something did."""
        return self._entry.error

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives everything back; more than once is once."""
        self._scheduler.close_entry(self._entry)

    def revoke(self, error: RequestError) -> None:
        """Ends the request: no further piece of it begins, and who waits gets `error`. From any thread."""
        self._scheduler.fail_entry(self._entry, error)

    async def decode(self, work: Callable[[], T]) -> T:
        """Runs `work` on a codec thread, once there is room for the picture.

        Raises:
            RequestError: The request has ended.
            Exception: Whatever `work` raises.
        """
        result: T = await self._codec("decode", self._entry.demand.decode_s, work)
        return result

    async def encode(self, work: Callable[[], T]) -> T:
        """Runs `work` on a codec thread.

        Raises:
            RequestError: The request has ended.
            Exception: Whatever `work` raises.
        """
        result: T = await self._codec("encode", self._entry.demand.encode_s, work)
        return result

    async def restore(self, restoration: Restoration) -> None:
        """Runs all tiles; their number and shape may differ from what was admitted.

        Raises:
            RequestError: The request has ended.
            EngineError: The network failed on one of its tiles, or gave what is not a picture.
        """
        entry = self._entry

        def submit(waiter: LoopWaiter) -> None:
            self._scheduler.submit_tiles(entry, restoration, waiter)

        await self._stage("inference", submit)

    async def _codec(self, stage: CodecStage, seconds: float, work: Callable[[], Any]) -> Any:
        entry = self._entry
        piece = Piece(seconds, 1.0, entry.machine.codec_share)

        def submit(waiter: LoopWaiter) -> None:
            self._scheduler.submit_codec(Job(entry, stage, work, waiter, piece))

        return await self._stage(stage, submit)

    async def _stage(self, stage: ScheduledStage, submit: Callable[[LoopWaiter], None]) -> Any:
        entry, clock = self._entry, self._scheduler.clock
        loop = asyncio.get_running_loop()
        waiter = LoopWaiter(loop)
        start, busy = clock(), entry.busy_s
        alarm = loop.call_later(max(0.0, entry.deadline - start), self._expire)
        try:
            submit(waiter)
            return await waiter.future
        except asyncio.CancelledError:
            self.revoke(DeadlineExceededError("The request was given up."))
            raise
        finally:
            alarm.cancel()
            worked = entry.busy_s - busy
            self.seconds[stage] = self.seconds.get(stage, 0.0) + worked
            self.seconds["queue"] += max(0.0, clock() - start - worked)

    def _expire(self) -> None:
        self._scheduler.expire_entry(self._entry, late_error())


class LoopWaiter:
    """Hands a result to a coroutine from another thread: one wake-up of the loop for each stage."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def done(self, result: Any) -> None:
        """The stage is done."""
        self._call(self._set_result, result)

    def failed(self, error: BaseException) -> None:
        """The stage will not be done."""
        self._call(self._set_error, error)

    def _call(self, function: Callable[[Any], None], argument: Any) -> None:
        # A loop that is closed has nobody left who waits.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)

    def _set_result(self, result: Any) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _set_error(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            # It may be that nobody asks: the task was cancelled meanwhile.
            self.future.exception()
