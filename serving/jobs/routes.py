"""The routes of jobs; see docs/serving.md for the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from serving.errors import UnknownOptionError
from serving.guard import client_of
from serving.jobs.archive import zipped
from serving.jobs.errors import (
    BlobLostError,
    FileFailedError,
    JobFileNotFoundError,
    JobGoneError,
    MissingTaskError,
    NotFinishedError,
    TaskNotFoundError,
)
from serving.jobs.events import Streams
from serving.jobs.job import Job
from serving.jobs.names import archive_names
from serving.jobs.queue import JobQueue
from serving.jobs.restoring import JobOptions, ParseOptions
from serving.jobs.submission import receive
from serving.jobs.threads import StoreThreads
from serving.jobs.views import job_view
from serving.options import TASKS
from serving.settings import Settings

PATHS = (
    "/v1/jobs",
    "/v1/jobs/{id}",
    "/v1/jobs/{id}/events",
    "/v1/jobs/{id}/result",
    "/v1/jobs/{id}/files/{index}",
)
_PRIVATE = {"Cache-Control": "no-store"}


class JobRoutes:
    """Endpoints over a queue.

    Args:
        wake: Called when a job has been submitted.
        cancel: Called with the id of a job that has been deleted.
    """

    def __init__(
        self,
        settings: Settings,
        parse: ParseOptions,
        queue: JobQueue,
        streams: Streams,
        threads: StoreThreads,
        wake: Callable[[], None],
        cancel: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._parse = parse
        self._queue = queue
        self._streams = streams
        self._threads = threads
        self._wake = wake
        self._cancel = cancel

    def routes(self) -> list[Route]:
        """The routes to mount."""
        job = "/v1/jobs/{id}"
        return [
            Route("/v1/jobs", self.submit, methods=["POST"]),
            _methods(Route(job, self.job), "GET", "DELETE"),
            _methods(Route(job + "/events", self.events), "GET"),
            _methods(Route(job + "/result", self.result), "GET"),
            _methods(Route(job + "/files/{index:int}", self.file), "GET"),
        ]

    async def submit(self, request: Request) -> Response:
        """POST /v1/jobs."""
        options = job_options(request.query_params, self._parse)
        job = await receive(request, owner_of(request), options, self._settings, self._queue, self._threads)
        self._wake()
        return JSONResponse(job_view(job), 202, {"Location": f"/v1/jobs/{job.id}", **_PRIVATE})

    async def job(self, request: Request) -> Response:
        """GET and DELETE /v1/jobs/{id}."""
        if request.method == "GET":
            return JSONResponse(job_view(await self._job(request)), headers=_PRIVATE)
        job = await self._threads.run(self._queue.delete, request.path_params["id"], owner_of(request))
        self._cancel(job.id)
        return JSONResponse(job_view(job), headers=_PRIVATE)

    async def events(self, request: Request) -> Response:
        """GET /v1/jobs/{id}/events."""
        job = await self._job(request)
        self._streams.require_room()
        # The second header keeps proxies from holding events back.
        headers = {**_PRIVATE, "X-Accel-Buffering": "no"}
        return StreamingResponse(self._streams.follow(job), media_type="text/event-stream", headers=headers)

    async def result(self, request: Request) -> Response:
        """GET /v1/jobs/{id}/result."""
        job = await self._job(request)
        if not job.finished:
            text = f"{job.progress:.0%} of job {job.id} is done. Follow /v1/jobs/{job.id}/events and fetch it then."
            raise NotFinishedError(text, {"Retry-After": "2"})
        archive = await _begun(zipped(job, lambda index: self._bytes_of(job, index)))
        headers = {**_PRIVATE, "Content-Disposition": f'attachment; filename="{job.task}-{job.id[:8]}.zip"'}
        return StreamingResponse(archive, media_type="application/zip", headers=headers)

    async def file(self, request: Request) -> Response:
        """GET /v1/jobs/{id}/files/{index}."""
        job, index = await self._job(request), request.path_params["index"]
        if index >= len(job.files):
            raise JobFileNotFoundError(f"Job {job.id} has no file {index}. Its files are 0 to {len(job.files) - 1}.")
        file = job.files[index]
        if file.error is not None:
            raise FileFailedError(f"File {index} could not be restored ({file.error.code}): {file.error.message}")
        if file.result is None or file.media_type is None:
            raise NotFinishedError(f"File {index} of job {job.id} is {file.status}. Wait for it.", {"Retry-After": "2"})
        content = await _begun(self._bytes_of(job, index))
        name = quote(archive_names([(file.name, file.media_type)])[0], safe="")
        headers = {
            **_PRIVATE,
            "Content-Disposition": f"attachment; filename*=utf-8''{name}",
            "Content-Length": str(file.result_bytes),
            "X-Model": file.model or "",
        }
        return StreamingResponse(content, media_type=file.media_type, headers=headers)

    async def _job(self, request: Request) -> Job:
        return await self._threads.run(self._queue.get, request.path_params["id"], owner_of(request))

    async def _bytes_of(self, job: Job, index: int) -> AsyncIterator[bytes]:
        try:
            async for piece in self._threads.each(self._queue.chunks(job, index)):
                yield piece
        except BlobLostError as error:
            # Deleted while it was being sent, which is nothing to give the job up for, or damaged.
            if await self._threads.run(self._queue.store.version, job.id) is not None:
                await self._threads.run(self._queue.lose, job.id, job.owner, error)
            raise JobGoneError(f"The files of job {job.id} are gone. Submit them again.") from error


def job_options(query: QueryParams, parse: ParseOptions) -> JobOptions:
    """Reads the query of a submission.

    Args:
        query: With the option `task`.
        parse: Refuses wrong options of that task.

    Raises:
        RequestError: What `parse` raises, or the task is missing, unknown or given twice.
    """
    tasks = query.getlist("task")
    offered = ", ".join(TASKS)
    if not tasks:
        raise MissingTaskError(f"The submission names no task. Add ?task= with one of {offered}.")
    if len(tasks) > 1:
        raise UnknownOptionError("Option 'task' is given more than once. Give it once.")
    if tasks[0] not in TASKS:
        raise TaskNotFoundError(f"There is no task {tasks[0][:80]!r}. Tasks: {offered}.")
    options = JobOptions(tasks[0], tuple((name, value) for name, value in query.multi_items() if name != "task"))
    parse(options.query, options.task)
    return options


def owner_of(request: Request) -> str:
    """The client's name as the guard has found it out; all clients without a key are one."""
    return client_of(request).name


async def _begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Reads the first piece before an answer is begun, so that lost files are still a 410."""
    return _chained(await anext(pieces, b""), pieces)


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


def _methods(route: Route, *methods: str) -> Route:
    # Starlette adds HEAD to GET, and would send a whole archive, or events for hours, to nobody.
    route.methods = set(methods)
    return route
