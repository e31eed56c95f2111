"""`AsyncClient`: the service for programs with an event loop. The methods of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx

from millisight.client import answers, calls
from millisight.client.bodies import Source
from millisight.client.calls import Call, Format, Metadata, Named, Task
from millisight.client.connection import TIMEOUT_S, Connection
from millisight.client.errors import RefusedError
from millisight.client.events import Follower
from millisight.client.exchange import ERROR_BYTES, ErrorAnswer, Outcome, Send, Wait, cut_short
from millisight.client.records import JobPicture, JobStatus, ModelInfo, OrderReport, Restored, whole_file
from millisight.client.retry import RetryPolicy

__all__ = ["AsyncClient", "AsyncJob"]


class AsyncClient:
    """A millisight service; see `Client`. Any number of calls may be awaited at the same time."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = TIMEOUT_S,
        retry: RetryPolicy | None = None,
        trust_env: bool = True,
    ) -> None:
        self._connection = Connection(base_url, api_key, timeout, retry or RetryPolicy(), trust_env)
        self._http = httpx.AsyncClient(**self._connection.options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def restore(
        self,
        image: Source,
        task: Task,
        *,
        scale: Literal[2, 4] | None = None,
        model: str | None = None,
        format: Format | None = None,  # noqa: A002 - the option's own name
        quality: int | None = None,
        metadata: Metadata | None = None,
        deadline_ms: int | None = None,
    ) -> Restored:
        """Restore one picture; see `Client.restore`."""
        call = calls.restoring(
            image, task, scale=scale, model=model, format=format, quality=quality, metadata=metadata,
            deadline_ms=deadline_ms,
        )  # fmt: skip
        response = await self._fetch(call)
        return answers.read_restored(response.headers, response.content)

    async def models(self) -> list[ModelInfo]:
        """The loaded bundles, in order of choice."""
        response = await self._fetch(calls.MODELS)
        return answers.read_models(response.headers, response.content)

    async def ready(self) -> bool:
        """Whether the service takes pictures now; see `Client.ready`."""
        try:
            await self._fetch(calls.READY, retry=RetryPolicy(attempts=1))
        except RefusedError as error:
            if error.status == 503:
                return False
            raise
        return True

    async def submit(
        self,
        images: Sequence[Named],
        task: Task,
        *,
        scale: Literal[2, 4] | None = None,
        model: str | None = None,
        format: Format | None = None,  # noqa: A002 - the option's own name
        quality: int | None = None,
        metadata: Metadata | None = None,
    ) -> AsyncJob:
        """Hand in many pictures as one job; see `Client.submit`."""
        call = calls.submitting(
            images, task, scale=scale, model=model, format=format, quality=quality, metadata=metadata
        )
        response = await self._fetch(call)
        return AsyncJob(self, answers.read_job(response.headers, response.content).id)

    def job(self, id_: str) -> AsyncJob:
        """A job that was submitted before; it is not asked for until one of its methods is called."""
        return AsyncJob(self, id_)

    async def reload_models(self) -> OrderReport:
        """Look for changed bundles and swap them in; needs a key with the role admin."""
        return await self._order(calls.RELOAD)

    async def load_model(self, name: str) -> OrderReport:
        """Load a bundle that was unloaded; needs a key with the role admin."""
        return await self._order(calls.model(name, "load"))

    async def unload_model(self, name: str) -> OrderReport:
        """Unload a bundle; needs a key with the role admin."""
        return await self._order(calls.model(name, "unload"))

    async def _order(self, call: Call) -> OrderReport:
        response = await self._fetch(call)
        return answers.read_order(response.headers, response.content)

    async def _fetch(self, call: Call, retry: RetryPolicy | None = None) -> httpx.Response:
        """A successful answer with its whole body."""
        response = await self._open(call, retry=retry)
        try:
            await response.aread()
        except httpx.RequestError as error:
            raise cut_short(error) from error
        finally:
            await response.aclose()
        return response

    async def _open(
        self, call: Call, timeout_s: float | None = None, retry: RetryPolicy | None = None
    ) -> httpx.Response:
        """A successful answer, its body unread."""
        steps = self._connection.exchange(call, timeout_s=timeout_s, retry=retry)
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                outcome = None
            else:
                outcome = await self._send(step)

    async def _send(self, step: Send) -> Outcome:
        body = None if step.call.body is None else _async(step.call.body.pieces())
        try:
            response = await self._http.send(
                self._http.build_request(**self._connection.request(step), content=body), stream=True
            )
        except httpx.TransportError as error:
            return error
        if response.is_success:
            return response
        start = bytearray()
        try:
            async for piece in response.aiter_bytes():
                start += piece
                if len(start) >= ERROR_BYTES:
                    break
        except httpx.RequestError:
            pass  # the status is known; what has arrived of the body says the rest
        finally:
            await response.aclose()
        return ErrorAnswer(response.status_code, response.headers, bytes(start[:ERROR_BYTES]))


class AsyncJob:
    """Pictures that the service restores while nobody waits; see `Job`.

    Attributes:
        id: Of the job; `AsyncClient.job(id)` finds it again.
    """

    def __init__(self, client: AsyncClient, id_: str) -> None:
        self.id = id_
        self._client = client

    async def status(self) -> JobStatus:
        """The job as it stands; see `Job.status`."""
        response = await self._client._fetch(calls.job(self.id))
        return answers.read_job(response.headers, response.content)

    async def events(self, timeout: float | None = None) -> AsyncIterator[JobStatus]:
        """The job's state whenever it changes, until it has ended; see `Job.events`."""
        connection = self._client._connection
        follower = Follower(self.id, connection.retry, connection.timeout, timeout)
        call = calls.job(self.id, "/events", accept="text/event-stream")
        while not follower.finished:
            broken: httpx.RequestError | None = None
            response = await self._client._open(call, timeout_s=follower.next_timeout_s())
            try:
                follower.begin(response.headers)
                async for piece in response.aiter_bytes():
                    for status in follower.feed(piece):
                        yield status
                    if follower.finished:
                        return
            except httpx.RequestError as error:
                broken = error
            finally:
                await response.aclose()
            await asyncio.sleep(follower.pause_s(broken))

    async def wait(self, timeout: float | None = None) -> JobStatus:
        """The job's state once it has ended; see `Job.wait`."""
        states = [status async for status in self.events(timeout)][-1:]
        return states[0] if states and states[0].ended else await self.status()

    async def file(self, index: int) -> JobPicture:
        """One restored picture; see `Job.file`."""
        response = await self._client._fetch(calls.job(self.id, f"/files/{index}", accept="image/*"))
        return answers.read_job_picture(index, response.headers, response.content)

    async def files(self) -> AsyncIterator[JobPicture]:
        """The pictures restored so far, one after another."""
        for file in (await self.status()).files:
            if file.status == "done":
                yield await self.file(file.index)

    async def result_to(self, path: str | PathLike[str]) -> Path:
        """Write all restored pictures as one zip; see `Job.result_to`."""
        response = await self._client._open(calls.job(self.id, "/result", accept="application/zip"))
        try:
            with whole_file(Path(path)) as file:
                async for piece in response.aiter_bytes():
                    file.write(piece)
                await asyncio.to_thread(answers.check_zip, file)
        except httpx.RequestError as error:
            raise cut_short(error) from error
        finally:
            await response.aclose()
        return Path(path)

    async def cancel(self) -> None:
        """Stop the job and delete its pictures on the service; see `Job.cancel`."""
        await self._client._fetch(calls.job(self.id, method="DELETE"))


async def _async(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
