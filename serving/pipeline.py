"""Decode, infer, encode: one request's work on our own threads, never on the event loop.

A slot is a thread of the inference pool. Work that was given up (deadline, client gone) keeps its thread until the
next tile and frees it by returning, so running inferences never exceed the slots, whatever the clients do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from runtime.host import usable_cores
from runtime.image import ImageLimits, Picture, decode_image, encode_image
from serving.errors import DeadlineExceededError, RequestError, ResultTooLargeError
from serving.library import LoadedModel
from serving.metrics import Stage
from serving.negotiation import PictureFormat
from serving.settings import Settings

T = TypeVar("T")

# One picture being inferred, one being decoded or encoded: enough to keep every slot busy with bounded memory.
PICTURES_PER_SLOT = 2


@dataclass
class Ticket:
    """Permission of one request to go on working; asked between tiles, from another thread.

    Attributes:
        timeout_s: Seconds the work may take, counted from the making of the ticket.
        seconds: Time spent in each stage so far.
    """

    timeout_s: float
    seconds: dict[Stage, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.monotonic)
    _refusal: RequestError | None = None

    def revoke(self, why: RequestError) -> None:
        """Makes the next `check` raise; work that runs stops there."""
        self._refusal = why

    def check(self) -> None:
        """Raises what ended this request, if something did."""
        if self._refusal is not None:
            raise self._refusal
        if time.monotonic() - self._start > self.timeout_s:
            raise self.too_late()

    def too_late(self) -> DeadlineExceededError:
        """The error of a request whose time is up."""
        return DeadlineExceededError(
            f"Not done within {self.timeout_s:g} s. Send a smaller picture, or try again later."
        )


@dataclass(frozen=True)
class Result:
    """A picture file ready to send, and the sizes it came from in pixels."""

    data: bytes
    input_pixels: int
    output_pixels: int


class Pipeline:
    """Threads and limits shared by all requests of one worker."""

    def __init__(self, settings: Settings) -> None:
        self._limits = ImageLimits(max_pixels=settings.max_pixels, max_bytes=settings.max_body_bytes)
        self._max_output_pixels = settings.max_output_pixels
        self._slots = ThreadPoolExecutor(settings.slots, thread_name_prefix="inference")
        self._codecs = ThreadPoolExecutor(usable_cores(), thread_name_prefix="codec")
        self._places = asyncio.Semaphore(settings.slots * PICTURES_PER_SLOT)

    def close(self) -> None:
        """Lets threads end once they have finished what they do."""
        self._slots.shutdown(wait=False, cancel_futures=True)
        self._codecs.shutdown(wait=False, cancel_futures=True)

    async def run(self, data: bytes, model: LoadedModel, picture_format: PictureFormat, ticket: Ticket) -> Result:
        """Restores one picture file.

        Args:
            data: The file as it was sent.
            model: Which network.
            picture_format: How to pack the answer.
            ticket: Ends the work early when revoked; its `seconds` are filled in.

        Raises:
            ImageError: The file cannot be read or is too large.
            EngineError: The network's answer is not finite.
            RequestError: Result too large, or the ticket ended.
        """
        try:
            async with asyncio.timeout(ticket.timeout_s):
                return await self._run(data, model, picture_format, ticket)
        except TimeoutError as error:
            raise ticket.too_late() from error
        finally:
            # Whatever ended this coroutine, a thread that still works for it must stop at its next tile.
            ticket.revoke(DeadlineExceededError("The request has ended."))

    async def _run(self, data: bytes, model: LoadedModel, picture_format: PictureFormat, ticket: Ticket) -> Result:
        asked = time.monotonic()
        async with self._places:
            ticket.seconds["queue"] = time.monotonic() - asked
            picture = await self._in(
                self._codecs, "decode", ticket, lambda: self._check_size(decode_image(data, self._limits), model)
            )
            restored = await self._in(
                self._slots, "inference", ticket, lambda: model.restorer.restore(picture, checkpoint=ticket.check)
            )
            packed = await self._in(self._codecs, "encode", ticket, lambda: encode_image(restored, picture_format))
        return Result(packed, _pixels(picture), _pixels(restored))

    def _check_size(self, picture: Picture, model: LoadedModel) -> Picture:
        pixels = _pixels(picture) * model.scale**2
        if pixels > self._max_output_pixels:
            allowed = self._max_output_pixels // model.scale**2
            raise ResultTooLargeError(
                f"The result would have {pixels} pixels, {self._max_output_pixels} are allowed. "
                f"At scale {model.scale} send at most {allowed} pixels."
            )
        return picture

    async def _in(self, pool: ThreadPoolExecutor, stage: Stage, ticket: Ticket, work: Callable[[], T]) -> T:
        """Runs one stage on a thread of the pool; waiting for the thread counts as queueing."""
        asked = time.monotonic()

        def timed() -> T:
            started = time.monotonic()
            ticket.seconds["queue"] += started - asked
            try:
                ticket.check()
                return work()
            finally:
                ticket.seconds[stage] = time.monotonic() - started

        return await asyncio.get_running_loop().run_in_executor(pool, timed)


def _pixels(picture: Picture) -> int:
    height, width = picture.rgb.shape[-2:]
    return int(height) * int(width)
