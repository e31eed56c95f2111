"""A small real server that speaks the service's contract, and can be told to answer otherwise."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
import zipfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

PNG = b"\x89PNG\r\n\x1a\n restored "
TIMING = "read;dur=0.5, queue;dur=1.0, decode;dur=2.0, inference;dur=30.5, encode;dur=4.0, predicted;dur=40.0"
TASKS = ("derain", "denoise", "super-resolution")


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: bytes
    at: float


@dataclass
class Work:
    """A job: one file further at every look, so that nothing depends on time."""

    task: str
    pictures: list[tuple[str, bytes]]
    over: int = 0
    deleted: bool = False

    def state(self, id_: str) -> dict[str, Any]:
        files = []
        for index, (name, data) in enumerate(self.pictures):
            bad = data.startswith(b"bad")
            status = "queued" if index >= self.over else "failed" if bad else "done"
            error = {"code": "corrupt", "message": "It ends too early."} if status == "failed" else None
            done = status == "done"
            files.append(
                {
                    "index": index,
                    "name": name,
                    "status": status,
                    "model": "one" if done else None,
                    "bytes": len(PNG + data) if done else None,
                    "error": error,
                }
            )
        total = len(files)
        return {
            "id": id_,
            "task": self.task,
            "status": "done" if self.over == total else "running",
            "total": total,
            "done": sum(file["status"] == "done" for file in files),
            "failed": sum(file["status"] == "failed" for file in files),
            "progress": self.over / total,
            "created": "2026-01-01T00:00:00Z",
            "expires": "2026-01-02T00:00:00Z",
            "files": files,
            "a_field_of_later": True,
        }


@dataclass
class Contract:
    """What the server was asked, and what it is told to do.

    Attributes:
        url: Its address.
        seen: Every request, in order.
        script: Answers for the next requests of any kind, before it answers as it should.
        jobs: Whether it takes any.
        most_files: Of one job; more are refused with 413.
        streams: Events after which each of the next streams of progress breaks off.
    """

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    script: deque[Response] = field(default_factory=deque)
    jobs: bool = True
    most_files: int = 1000
    streams: deque[int] = field(default_factory=deque)
    works: dict[str, Work] = field(default_factory=dict)

    def forget(self) -> None:
        """As it was at the start."""
        self.jobs, self.most_files = True, 1000
        for memory in (self.seen, self.script, self.streams, self.works):
            memory.clear()

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        seen = Seen(
            request.method, request.url.path, dict(request.query_params), request.headers, body, time.monotonic()
        )
        self.seen.append(seen)
        if self.script:
            return self.script.popleft()
        steps = seen.path.strip("/").split("/")
        if steps == ["readyz"]:
            return Response("\n")
        if steps == ["v1", "models"]:
            return JSONResponse({"models": [{"name": "one", "task": "derain", "scale": 1, "target": "cpu-x-fp32"}]})
        if steps[:2] == ["v1", "models"] and seen.method == "POST":
            worker = {"pid": 7, "state": "done", "did": steps[2:]}
            return JSONResponse({"order": 3, "complete": True, "workers": [worker]})
        if steps[-1] in TASKS:
            kind = seen.query.get("format", "png")
            headers = {"X-Model": "one", "X-Target": "cpu-x-fp32", "X-Request-Id": "r1", "Server-Timing": TIMING}
            return Response(PNG + body, media_type=f"image/{kind}", headers=headers)
        if steps[:2] == ["v1", "jobs"] and self.jobs:
            return await self._about_jobs(request, steps[2:])
        return error(404, "not_found", "There is nothing at this path.")

    async def _about_jobs(self, request: Request, rest: list[str]) -> Response:
        if not rest:
            return await self._submit(request)
        id_, work = rest[0], self.works.get(rest[0])
        if work is None:
            return error(404, "job_not_found", "No such job.")
        if work.deleted:
            return error(410, "job_gone", "The job is gone.")
        if request.method == "DELETE":
            work.deleted = True
            return JSONResponse(work.state(id_))
        if rest[1:] == ["events"]:
            return StreamingResponse(self._events(id_, work), media_type="text/event-stream")
        if rest[1:] == ["result"]:
            if work.over < len(work.pictures):
                return error(409, "not_finished", "The job has not ended.")
            return Response(zip_of(dict(work.pictures)), media_type="application/zip")
        if rest[1:2] == ["files"]:
            return Response(PNG + work.pictures[int(rest[2])][1], media_type="image/png")
        work.over = min(len(work.pictures), work.over + 1)
        return JSONResponse(work.state(id_))

    async def _submit(self, request: Request) -> Response:
        form = await request.form()
        parts = [part for part in form.getlist("image") if isinstance(part, UploadFile)]
        if len(parts) > self.most_files:
            return error(413, "too_many_files", f"At most {self.most_files} files.")
        pictures = [(part.filename or "", await part.read()) for part in parts]
        id_ = f"job-{len(self.works)}"
        work = self.works[id_] = Work(request.query_params["task"], pictures)
        return JSONResponse(work.state(id_), 202, headers={"Location": f"/v1/jobs/{id_}"})

    async def _events(self, id_: str, work: Work) -> AsyncIterator[str]:
        left = self.streams.popleft() if self.streams else 10**9
        yield ": hello\n\n"
        while left > 0:
            yield f"event: progress\ndata: {json.dumps(work.state(id_))}\n\n"
            left -= 1
            if work.over == len(work.pictures):
                yield "event: end\ndata: {}\n\n"
                return
            work.over += 1


def error(status: int, code: str, message: str, **headers: str) -> Response:
    content = {"error": {"code": code, "message": message, "request_id": "r9"}}
    return JSONResponse(content, status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def zip_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@contextmanager
def contract_server() -> Iterator[Contract]:
    contract = Contract()
    route = Route("/{path:path}", contract.answer, methods=["GET", "POST", "DELETE"])
    listening = socket.create_server(("127.0.0.1", 0))
    contract.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(Starlette(routes=[route]), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield contract
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@dataclass
class Rude:
    """A server below HTTP: to each connection in turn it sends these bytes, and hangs up.

    Attributes:
        url: Its address.
        says: What it sends; None: nothing until the other side hangs up.
        heard: Requests, as far as it read them.
    """

    url: str
    says: list[bytes | None]
    heard: list[bytes] = field(default_factory=list)


@contextmanager
def rude_server(*says: bytes | None) -> Iterator[Rude]:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.05)
    rude = Rude(f"http://127.0.0.1:{listening.getsockname()[1]}", list(says))
    thread = threading.Thread(target=_be_rude, args=(listening, rude))
    thread.start()
    try:
        yield rude
    finally:
        listening.close()
        # A thread that waits in accept is woken by nothing but a connection, and there is none to make any more.
        thread.join(20)
        assert not thread.is_alive()


def _be_rude(listening: socket.socket, rude: Rude) -> None:
    for words in rude.says:
        while True:
            try:
                connection, _ = listening.accept()
                break
            except TimeoutError:
                continue
            except OSError:
                return
        with connection:
            connection.settimeout(10)
            rude.heard.append(_one_request(connection))
            if words is None:
                while connection.recv(65536):
                    pass
            else:
                connection.sendall(words)


def _one_request(connection: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    size = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < size:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
