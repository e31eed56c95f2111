"""The three phases that compare services with the bare loop, each in rounds of random order until its time is up."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.serving.contestants import BARE, BareLoop, Service
from benchmarks.serving.load import Client
from benchmarks.serving.record import Cell, Record
from benchmarks.serving.works import Work

STAGES = ("decode", "inference", "encode")
CPU, CPU_STAGES = "CPU beside the bare loop's, ms", "CPU beside its own stages, ms"
P50_RATIO, MS, THROUGHPUT = "p50 / bare p50", "ms", "throughput / bare"
OTHER_ANSWERS = "answers other than the bare loop's"
CALLERS: Mapping[str, tuple[int, ...]] = {"jpeg": (4, 8, 16), "png": (8,)}
"""Closed-loop callers at saturation; PNG once, as its encoder costs everybody the same."""


@dataclass(frozen=True)
class Pace:
    """How much is done in a round.

    Attributes:
        requests: Of one caller, by kind of work.
        saturated_s: Seconds of load of many callers, by kind of work.
        overloaded_s: Seconds of open-loop load, by kind of work.
    """

    requests: Mapping[str, int]
    saturated_s: Mapping[str, float]
    overloaded_s: Mapping[str, float]


FULL = Pace({"nothing": 400, "short": 15, "long": 8}, {"short": 2.0, "long": 3.5}, {"short": 5.0, "long": 8.0})
SMALL = Pace({"nothing": 40, "short": 3, "long": 2}, {"short": 0.5, "long": 1.0}, {"short": 1.5, "long": 2.0})


@dataclass(frozen=True)
class Bench:
    """Everything that a phase needs."""

    bare: BareLoop
    services: Sequence[Service]
    works: Sequence[Work]
    pace: Pace
    record: Record
    random: random.Random

    def kinds(self, *kinds: str) -> list[Work]:
        """The works of some kinds, in random order."""
        chosen = [work for work in self.works if kind_of(work) in kinds]
        self.random.shuffle(chosen)
        return chosen

    def contestants(self) -> list[Service | None]:
        """The services and None, the bare loop, in random order."""
        order = [None, *self.services]
        self.random.shuffle(order)
        return order


def kind_of(work: Work) -> str:
    """nothing, short or long."""
    return work.name.split()[0]


def repeat(one_round: Callable[[], None], seconds: float) -> int:
    """Whole rounds, as many as are expected to fit into `seconds`, at least one; how many there were."""
    start, rounds = time.monotonic(), 0
    while True:
        one_round()
        rounds += 1
        spent = time.monotonic() - start
        if spent + spent / rounds > seconds:
            return rounds


def _in_blocks(bench: Bench, work: Work, times: int) -> dict[str, dict[str, Any]]:
    """Every contestant does all its requests at once: for work so small that processor time has to add up."""
    found = dict[str, dict[str, Any]]()
    for service in bench.contestants():
        if service is None:
            found[BARE] = bench.bare.loop(work, times)
        else:
            found[service.name] = service.load(work, concurrency=1, requests=times)
    return found


async def _in_turns(bench: Bench, work: Work, times: int) -> dict[str, dict[str, Any]]:
    """One request each, in random order, again and again: a machine that is slower for a second is so for all.

    Requests are sent from this process, which does nothing else meanwhile; processor time is added up over the turns.
    """
    clients = {service.name: Client(service.plan(work)) for service in bench.services}
    found: dict[str, dict[str, Any]] = {name: {"calls": [], "server_cpu_s": 0.0} for name in clients}
    found[BARE] = {"seconds": [], "cpu_s": 0.0, "sha256": ""}
    for _ in range(times):
        for service in bench.contestants():
            if service is None:
                once, bare = bench.bare.loop(work, 1), found[BARE]
                bare["seconds"] += once["seconds"]
                bare["cpu_s"] += once["cpu_s"]
                bare["sha256"] = once["sha256"]
                continue
            before = service.cpu_seconds()
            call = await clients[service.name].call()
            found[service.name]["server_cpu_s"] += service.cpu_seconds() - before
            found[service.name]["calls"].append(asdict(call))
    return found


def one_caller(bench: Bench, phase: str, kinds: Sequence[str]) -> None:
    """A round of `overhead` (in blocks) or `latency` (in turns): every contestant does every work, with one caller."""
    for work in bench.kinds(*kinds):
        times = bench.pace.requests[kind_of(work)]
        found = _in_blocks(bench, work, times) if phase == "overhead" else asyncio.run(_in_turns(bench, work, times))
        bare = found.pop(BARE)
        bare_p50 = statistics.median(bare["seconds"])
        bench.record.pool(Cell(phase, work.name, BARE, "", MS), (1000 * value for value in bare["seconds"]))
        bench.record.add(Cell(phase, work.name, BARE, "", "CPU, ms"), 1000 * bare["cpu_s"] / times)
        for name, result in found.items():
            calls = [call for call in result["calls"] if call["status"] == 200]
            seconds = [call["seconds"] for call in calls]
            cpu = result["server_cpu_s"] / times

            def cell(measure: str, name: str = name, work: Work = work) -> Cell:
                return Cell(phase, work.name, name, "1 caller", measure)

            bench.record.add(cell("not answered"), times - len(calls))
            if not calls:
                continue
            wrong = sum(call["sha256"] != bare["sha256"][: len(call["sha256"])] for call in calls)
            bench.record.add(cell(OTHER_ANSWERS), wrong)
            bench.record.pool(cell(MS), (1000 * value for value in seconds))
            bench.record.add(cell(P50_RATIO), statistics.median(seconds) / bare_p50)
            bench.record.add(cell(CPU), 1000 * (cpu - bare["cpu_s"] / times))
            if calls[0]["timing"]:
                stages = statistics.mean(sum(call["timing"].get(stage, 0.0) for stage in STAGES) for call in calls)
                bench.record.add(cell(CPU_STAGES), 1000 * cpu - stages)


def saturation(bench: Bench) -> None:
    """A round of many callers; as many works of the bare loop beside them."""
    for work in bench.kinds("short", "long"):
        seconds = bench.pace.saturated_s[kind_of(work)]
        first = bench.bare.loop(work, 2)
        times = max(2, round(seconds / statistics.mean(first["seconds"])))
        rates = dict[tuple[str, int], float]()
        for service in bench.contestants():
            if service is None:
                bare = times / sum(bench.bare.loop(work, times)["seconds"])
                continue
            for callers in bench.random.sample(CALLERS[work.format], len(CALLERS[work.format])):
                result = service.load(work, concurrency=callers, seconds=seconds)
                done = sum(call["status"] == 200 for call in result["calls"])
                rates[service.name, callers] = done / result["wall_s"]
        bench.record.add(Cell("saturation", work.name, BARE, "", "per second"), bare)
        for (name, callers), rate in rates.items():
            load = f"{callers} callers"
            bench.record.add(Cell("saturation", work.name, name, load, "per second"), rate)
            bench.record.add(Cell("saturation", work.name, name, load, THROUGHPUT), rate / bare)
