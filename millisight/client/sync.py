"""`Client`: the service for programs that wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
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

__all__ = ["Client", "Job"]


class Client:
    """A millisight service. Close it, or use it as a context manager; threads may share it.

    Args:
        base_url: Such as `http://127.0.0.1:3000`.
        api_key: If the service asks for one.
        timeout: Longest silence of the service, in seconds.
        retry: How patiently calls are tried again.
        trust_env: Whether proxies and certificates named in the environment are used.

    Raises:
        InvalidCallError: An argument that cannot be right.
    """

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
        self._http = httpx.Client(**self._connection.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def restore(
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
        """Restore one picture.

        Args:
            image: The file: bytes, a path, or an open binary file (read from where it stands).
            task: derain, denoise or super-resolution.
            scale: Output side over input side, for super-resolution.
            model: Name of a bundle, or fast, balanced or best; by default the service chooses.
            format: Of the result; PNG by default.
            quality: 1 to 100, for JPEG and WebP.
            metadata: Whether EXIF is kept; the service strips it by default.
            deadline_ms: Milliseconds from now to the answer, all tries together.

        Raises:
            MillisightClientError: See `millisight.client.errors`.
        """
        call = calls.restoring(
            image, task, scale=scale, model=model, format=format, quality=quality, metadata=metadata,
            deadline_ms=deadline_ms,
        )  # fmt: skip
        response = self._fetch(call)
        return answers.read_restored(response.headers, response.content)

    def models(self) -> list[ModelInfo]:
        """The loaded bundles, in order of choice."""
        response = self._fetch(calls.MODELS)
        return answers.read_models(response.headers, response.content)

    def ready(self) -> bool:
        """Whether the service takes pictures now; asked once.

        Raises:
            MillisightClientError: It cannot be reached, or is another service.
        """
        try:
            self._fetch(calls.READY, retry=RetryPolicy(attempts=1))
        except RefusedError as error:
            if error.status == 503:
                return False
            raise
        return True

    def submit(
        self,
        images: Sequence[Named],
        task: Task,
        *,
        scale: Literal[2, 4] | None = None,
        model: str | None = None,
        format: Format | None = None,  # noqa: A002 - the option's own name
        quality: int | None = None,
        metadata: Metadata | None = None,
    ) -> Job:
        """Hand in many pictures as one job: files as for `restore`, or pairs of a name and a file; the same options.

        Raises:
            MillisightClientError: See `millisight.client.errors`.
        """
        call = calls.submitting(
            images, task, scale=scale, model=model, format=format, quality=quality, metadata=metadata
        )  # fmt: skip
        response = self._fetch(call)
        return Job(self, answers.read_job(response.headers, response.content).id)

    def job(self, id_: str) -> Job:
        """A job that was submitted before; it is not asked for until one of its methods is called."""
        return Job(self, id_)

    def reload_models(self) -> OrderReport:
        """Look for changed bundles and swap them in; needs a key with the role admin."""
        return self._order(calls.RELOAD)

    def load_model(self, name: str) -> OrderReport:
        """Load a bundle that was unloaded; needs a key with the role admin."""
        return self._order(calls.model(name, "load"))

    def unload_model(self, name: str) -> OrderReport:
        """Unload a bundle; needs a key with the role admin."""
        return self._order(calls.model(name, "unload"))

    def _order(self, call: Call) -> OrderReport:
        response = self._fetch(call)
        return answers.read_order(response.headers, response.content)

    def _fetch(self, call: Call, retry: RetryPolicy | None = None) -> httpx.Response:
        """A successful answer with its whole body."""
        response = self._open(call, retry=retry)
        try:
            response.read()
        except httpx.RequestError as error:
            raise cut_short(error) from error
        finally:
            response.close()
        return response

    def _open(self, call: Call, timeout_s: float | None = None, retry: RetryPolicy | None = None) -> httpx.Response:
        """A successful answer, its body unread."""
        steps = self._connection.exchange(call, timeout_s=timeout_s, retry=retry)
        outcome: Outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Wait):
                time.sleep(step.seconds)
                outcome = None
            else:
                outcome = self._send(step)

    def _send(self, step: Send) -> Outcome:
        body = None if step.call.body is None else step.call.body.pieces()
        try:
            response = self._http.send(
                self._http.build_request(**self._connection.request(step), content=body), stream=True
            )
        except httpx.TransportError as error:
            return error
        if response.is_success:
            return response
        start = bytearray()
        try:
            for piece in response.iter_bytes():
                start += piece
                if len(start) >= ERROR_BYTES:
                    break
        except httpx.RequestError:
            pass  # the status is known; what has arrived of the body says the rest
        finally:
            response.close()
        return ErrorAnswer(response.status_code, response.headers, bytes(start[:ERROR_BYTES]))


class Job:
    """Pictures that the service restores while nobody waits.

    Attributes:
        id: Of the job; `Client.job(id)` finds it again.
    """

    def __init__(self, client: Client, id_: str) -> None:
        self.id = id_
        self._client = client

    def status(self) -> JobStatus:
        """The job as it stands.

        Raises:
            JobGoneError: It has expired or was deleted.
        """
        response = self._client._fetch(calls.job(self.id))
        return answers.read_job(response.headers, response.content)

    def events(self, timeout: float | None = None) -> Iterator[JobStatus]:
        """The job's state whenever it changes, until it has ended. A stream that breaks is opened again.

        Args:
            timeout: Seconds in all; None for no limit.

        Raises:
            TimedOutError: The job has not ended by then.
            JobGoneError: It has expired or was deleted.
        """
        connection = self._client._connection
        follower = Follower(self.id, connection.retry, connection.timeout, timeout)
        call = calls.job(self.id, "/events", accept="text/event-stream")
        while not follower.finished:
            broken: httpx.RequestError | None = None
            response = self._client._open(call, timeout_s=follower.next_timeout_s())
            try:
                follower.begin(response.headers)
                for piece in response.iter_bytes():
                    yield from follower.feed(piece)
                    if follower.finished:
                        return
            except httpx.RequestError as error:
                broken = error
            finally:
                response.close()
            time.sleep(follower.pause_s(broken))

    def wait(self, timeout: float | None = None) -> JobStatus:
        """The job's state once it has ended.

        Args:
            timeout: Seconds; None for no limit.

        Raises:
            TimedOutError: It has not ended by then; it goes on.
            JobGoneError: It has expired or was deleted.
        """
        states = deque(self.events(timeout), maxlen=1)
        return states[0] if states and states[0].ended else self.status()

    def file(self, index: int) -> JobPicture:
        """One restored picture.

        Args:
            index: Its place in the submission, from 0.

        Raises:
            RefusedError: It is not restored, or not yet.
        """
        response = self._client._fetch(calls.job(self.id, f"/files/{index}", accept="image/*"))
        return answers.read_job_picture(index, response.headers, response.content)

    def files(self) -> Iterator[JobPicture]:
        """The pictures restored so far, one after another."""
        for file in self.status().files:
            if file.status == "done":
                yield self.file(file.index)

    def result_to(self, path: str | PathLike[str]) -> Path:
        """Write all restored pictures as one zip, all of it or nothing; every file in it is checked.

        Args:
            path: Where; a file that is there is replaced.

        Raises:
            RefusedError: The job has not ended (`not_finished`).
            BrokenAnswerError: The zip is damaged or cut short.
        """
        response = self._client._open(calls.job(self.id, "/result", accept="application/zip"))
        try:
            with whole_file(Path(path)) as file:
                for piece in response.iter_bytes():
                    file.write(piece)
                answers.check_zip(file)
        except httpx.RequestError as error:
            raise cut_short(error) from error
        finally:
            response.close()
        return Path(path)

    def cancel(self) -> None:
        """Stop the job and delete its pictures on the service.

        Raises:
            JobGoneError: It is gone already.
        """
        self._client._fetch(calls.job(self.id, method="DELETE"))
