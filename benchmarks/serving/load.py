"""The load generator: a process of its own that costs little, as it shares the cores with the server.

A line of JSON in (`LoadPlan`), a line of JSON out (`{"wall_s", "cpu_s", "calls": [...]}`). HTTP/1.1 by hand over
keep-alive connections to the loopback address.
"""

import asyncio
import contextlib
import hashlib
import json
import random
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_TIMING = re.compile(rb"(?i)\r\nserver-timing: *([^\r]*)")
_CLOSES = re.compile(rb"(?i)\r\nconnection: *close")
_STAGE = re.compile(r"([a-z]+);dur=([0-9.]+)")


@dataclass(frozen=True)
class LoadPlan:
    """What to send, and when.

    Attributes:
        port: Port of the server.
        route: Path of every request.
        body: File that every request sends.
        headers: Further headers.
        seconds: Nothing is started after this long.
        concurrency: Closed loop: this many callers, each of whom waits for its answer. 0: open loop.
        requests: Closed loop: end after so many, 0 for no such limit.
        rate: Open loop: arrivals a second, at random (Poisson), whatever became of those before.
        seed: Of the arrivals.
        timeout_s: A call is given up after this.
    """

    port: int
    route: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 600.0
    concurrency: int = 0
    requests: int = 0
    rate: float = 0.0
    seed: int = 0
    timeout_s: float = 60.0

    def as_json(self) -> str:
        """One line; `LoadPlan(**values)` is the way back."""
        return json.dumps(asdict(self))


@dataclass
class Call:
    """One request. `status` is 0 when the connection broke and -1 when it was given up."""

    status: int
    seconds: float
    late_s: float = 0.0
    timing: dict[str, float] = field(default_factory=dict)
    sha256: str = ""


class Client:
    """Connections that are used again; as many as there are calls at the same time."""

    def __init__(self, plan: LoadPlan) -> None:
        body = Path(plan.body).read_bytes()
        lines = [f"POST {plan.route} HTTP/1.1", f"Host: {HOST}:{plan.port}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in plan.headers.items()]
        self._request = "\r\n".join([*lines, "", ""]).encode() + body
        self._plan = plan
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, late_s: float = 0.0) -> Call:
        """Send one request and read its answer."""
        start = time.perf_counter()
        status, timing, digest = -1, "", ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._plan.timeout_s):
                try:
                    status, timing, digest = await self._exchange()
                except (OSError, asyncio.IncompleteReadError):
                    status = 0
        stages = {name: float(value) for name, value in _STAGE.findall(timing)}
        return Call(status, time.perf_counter() - start, late_s, stages, digest)

    async def _exchange(self) -> tuple[int, str, str]:
        reader, writer = await self._connection()
        keep = False
        try:
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else await reader.read()
            keep = length is not None and _CLOSES.search(head) is None
        finally:
            if keep:
                self._free.append((reader, writer))
            else:
                writer.close()
        status, timing = _STATUS.match(head), _TIMING.search(head)
        if status is None:
            raise ConnectionError("The answer is not HTTP.")
        return int(status[1]), timing[1].decode() if timing else "", hashlib.sha256(body).hexdigest()[:16]

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            reader, writer = self._free.pop()
            # The server may have closed it while nobody used it.
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(HOST, self._plan.port, limit=2**20)


async def run(plan: LoadPlan) -> dict[str, Any]:
    """Carry out a plan."""
    client, calls = Client(plan), list[Call]()
    cpu, start = time.process_time(), time.perf_counter()
    if plan.concurrency:
        left = plan.requests or sys.maxsize

        async def caller() -> None:
            nonlocal left
            while left > 0 and time.perf_counter() - start < plan.seconds:
                left -= 1
                calls.append(await client.call())

        await asyncio.gather(*(caller() for _ in range(plan.concurrency)))
    else:
        calls += await _open_loop(client, plan, start)
    wall = time.perf_counter() - start
    return {"wall_s": wall, "cpu_s": time.process_time() - cpu, "calls": [asdict(call) for call in calls]}


async def _open_loop(client: Client, plan: LoadPlan, start: float) -> list[Call]:
    random_number, due, running = random.Random(plan.seed), 0.0, list[asyncio.Task[Call]]()
    while (due := due + random_number.expovariate(plan.rate)) < plan.seconds:
        await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
        late = time.perf_counter() - start - due
        running.append(asyncio.create_task(client.call(late)))
    return list(await asyncio.gather(*running))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(LoadPlan(**json.loads(sys.stdin.readline()))))))
