"""Requests at random moments (a Poisson stream that waits for nobody), or from callers who wait for their answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from monitoring.load.answers import Answer
from monitoring.load.pictures import Body

__all__ = ["LoadPlan", "send"]


@dataclass(frozen=True)
class LoadPlan:
    """What to send, and when. Bounded in time, in requests, and in requests at a time.

    Attributes:
        url: Address of the service.
        good: Pictures that are sent, one at random each time.
        bad: Files that are no pictures; empty: none are sent.
        seconds: Nothing is sent after this long.
        rate: Requests a second on average, whatever becomes of those before; 0: `callers` instead.
        callers: This many, each of whom waits for its answer and sends the next; 0: `rate` instead.
        requests: Nothing is sent after so many.
        bad_share: Share of bad files, 0 to 1.
        deadline_ms: That every request names, milliseconds; None: the service's own.
        timeout_s: A request is given up after this, seconds.
        under_way: Most requests at a time; those that are due beyond are counted and not sent.
        api_key: Where the service wants one.
        seed: Of everything random.
    """

    url: str
    good: tuple[Body, ...]
    bad: tuple[Body, ...] = ()
    seconds: float = 60.0
    rate: float = 0.0
    callers: int = 0
    requests: int = 1_000_000
    bad_share: float = 0.0
    deadline_ms: int | None = None
    timeout_s: float = 90.0
    under_way: int = 512
    api_key: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.rate > 0) == (self.callers > 0):
            raise ValueError(f"either a rate or callers, got {self.rate} and {self.callers}")
        if not self.good:
            raise ValueError("no picture to send")

    @property
    def moment_seed(self) -> int:
        """Seed of the moments: another one than that of the bodies, so that the two do not run in step."""
        return self.seed + 0x5EED

    def bodies(self) -> Iterator[Body]:
        """What is sent, without end."""
        choice = random.Random(self.seed)
        while True:
            bad = bool(self.bad) and choice.random() < self.bad_share
            yield choice.choice(self.bad if bad else self.good)


def send(plan: LoadPlan, told: Callable[[float, Answer | None], None]) -> tuple[list[Answer], float]:
    """Carry out a plan. An interrupt ends it early, with the answers so far.

    Args:
        plan: What to send.
        told: Called with the seconds gone after every answer, and with None now and then.

    Returns:
        The answers, and the seconds from the first request to the last answer.
    """
    load = _Load(plan, told)
    try:
        asyncio.run(load.run())
    except KeyboardInterrupt:
        told(load.gone(), None)
    return load.answers, max(load.gone(), 1e-9)


class _Load:
    def __init__(self, plan: LoadPlan, told: Callable[[float, Answer | None], None]) -> None:
        self.answers: list[Answer] = []
        self._plan, self._told = plan, told
        self._bodies = plan.bodies()
        self._started, self._running = 0, 0
        self._start = time.monotonic()

    def gone(self) -> float:
        return time.monotonic() - self._start

    async def run(self) -> None:
        plan = self._plan
        # More connections than a load needs would only wait in the service's socket.
        limits = httpx.Limits(max_connections=plan.under_way, max_keepalive_connections=plan.under_way)
        headers = {"Authorization": f"Bearer {plan.api_key}"} if plan.api_key else {}
        if plan.deadline_ms is not None:
            headers["X-Deadline-Ms"] = str(plan.deadline_ms)
        options: dict[str, Any] = {"limits": limits, "timeout": plan.timeout_s, "headers": headers, "trust_env": False}
        async with httpx.AsyncClient(base_url=plan.url, **options) as client:
            self._start = time.monotonic()
            if plan.callers:
                await asyncio.gather(*(self._caller(client) for _ in range(plan.callers)))
            else:
                await self._arrivals(client)

    async def _caller(self, client: httpx.AsyncClient) -> None:
        while self.gone() < self._plan.seconds and self._started < self._plan.requests:
            self._started += 1
            answer = await self._one(client, next(self._bodies), 0.0)
            if answer.code == "broken":
                # Nobody there: not as fast as the loop can turn.
                await asyncio.sleep(0.1)

    async def _arrivals(self, client: httpx.AsyncClient) -> None:
        plan, moments = self._plan, random.Random(self._plan.moment_seed)
        due = moments.expovariate(plan.rate)
        async with asyncio.TaskGroup() as group:
            while due < plan.seconds and self._started < plan.requests:
                while (wait := due - self.gone()) > 0:
                    await asyncio.sleep(min(wait, 0.5))
                    self._told(self.gone(), None)
                self._started += 1
                body, late = next(self._bodies), max(0.0, self.gone() - due)
                if self._running >= plan.under_way:
                    self._note(Answer(body.task, "not sent", 0.0, late, body.good))
                else:
                    group.create_task(self._one(client, body, late))
                due += moments.expovariate(plan.rate)

    async def _one(self, client: httpx.AsyncClient, body: Body, late: float) -> Answer:
        self._running += 1
        start = time.monotonic()
        try:
            answer = await client.post(body.route, content=body.data, headers={"Content-Type": body.media_type})
            code = _code(answer)
        except httpx.TimeoutException:
            code = "given up"
        except httpx.TransportError:
            code = "broken"
        finally:
            self._running -= 1
        return self._note(Answer(body.task, code, time.monotonic() - start, late, body.good))

    def _note(self, answer: Answer) -> Answer:
        self.answers.append(answer)
        self._told(self.gone(), answer)
        return answer


def _code(answer: httpx.Response) -> str:
    if answer.is_success:
        return str(answer.status_code)
    try:
        content = answer.json()
    except ValueError:
        return str(answer.status_code)
    error = content.get("error") if isinstance(content, dict) else None
    return (
        f"{answer.status_code} {error['code']}"
        if isinstance(error, dict) and "code" in error
        else str(answer.status_code)
    )
