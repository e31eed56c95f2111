"""Callers by hand: HTTP/1.1 over a socket of one's own, so that a test knows which worker has which connection."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import psutil
from PIL import Image

from tests.servers import Server, picture_file

BROKEN = (OSError, asyncio.IncompleteReadError)
"""What a connection that ended before its answer raises."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def stages(self) -> dict[str, float]:
        """Milliseconds by stage, from Server-Timing."""
        found = re.findall(r"([a-z]+);dur=([0-9.]+)", self.headers.get("server-timing", ""))
        return {name: float(value) for name, value in found}


class Connection:
    """One connection; `post` raises one of `BROKEN` when it ends before the whole answer is there."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.port: int = writer.get_extra_info("sockname")[1]

    @classmethod
    async def open(cls, server: Server | str) -> Connection:
        place = urlsplit(server if isinstance(server, str) else server.url)
        return cls(*await asyncio.open_connection(place.hostname, place.port))

    def send(self, route: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.writer.write(request_head(route, len(body), headers) + body)

    async def receive(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in head[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self._chunks()
        return Answer(int(head[0].split()[1]), headers, body)

    async def _chunks(self) -> bytes:
        body = b""
        while length := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(length + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    async def post(self, route: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        self.send(route, body, headers)
        return await self.receive()

    def close(self) -> None:
        self.writer.close()


def request_head(route: str, length: int, headers: Mapping[str, str] | None = None, method: str = "POST") -> bytes:
    fields = {"Host": "127.0.0.1", "Content-Type": "image/png", "Content-Length": str(length), **(headers or {})}
    lines = [f"{method} {route} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Constant:
    """A picture of one colour and one size, that nobody else has."""

    color: tuple[int, int, int]
    height: int
    width: int

    @classmethod
    def of(cls, number: int) -> Constant:
        return cls((number * 37 % 256, number * 101 % 256, number), 24 + number % 8 * 3, 30 + number)

    def file(self) -> bytes:
        return picture_file(np.full((self.height, self.width, 3), self.color, dtype=np.uint8))

    def is_in(self, answer: bytes, scale: int = 1) -> bool:
        """Whether the answer is this picture, unchanged but for its size."""
        with Image.open(io.BytesIO(answer)) as picture:
            if picture.size != (self.width * scale, self.height * scale):
                return False
            return bool((np.asarray(picture.convert("RGB")) == np.asarray(self.color, dtype=np.uint8)).all())


def workers(server: Server) -> list[psutil.Process]:
    """The living worker processes of a server."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        try:
            if any("worker" in word for word in process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def owner(server: Server, connection: Connection) -> int | None:
    """The id of the worker that has accepted a connection, or None so far."""
    for process in workers(server):
        try:
            sockets = process.net_connections("tcp")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(socket.raddr and socket.raddr.port == connection.port for socket in sockets):
            return process.pid
    return None


async def open_on_all_workers(server: Server, count: int, each: int = 2) -> dict[int, list[Connection]]:
    """Open `count` connections, again until every worker has at least `each` of them; by worker.

    The kernel gives a connection to whoever is awake first, so now and then one worker gets them all.
    """
    while True:
        connections = [await Connection.open(server) for _ in range(count)]
        by_worker: dict[int, list[Connection]] = {}
        for connection in connections:
            connection.send("/v1/derain", b"")
        for connection in connections:
            # An answer, whatever it says: so the connection has been accepted.
            await connection.receive()
            pid = owner(server, connection)
            if pid is not None:
                by_worker.setdefault(pid, []).append(connection)
        if len(by_worker) == len(workers(server)) and min(map(len, by_worker.values())) >= each:
            return by_worker
        for connection in connections:
            connection.close()
        await asyncio.sleep(0.2)


def total(metrics: str, name: str, **labels: str) -> float | None:
    """Sum of a metric's samples that have these labels; None if there is none."""
    found = []
    for line in metrics.splitlines():
        match = re.fullmatch(rf"{re.escape(name)}(\{{[^}}]*\}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            found.append(float(match[2]))
    return sum(found) if found else None
