"""More than the service can do: arrivals that do not wait for answers, each with a deadline."""

import contextlib
import re
import statistics
import threading
from collections.abc import Iterator

from benchmarks.serving.contestants import Service
from benchmarks.serving.phases import Bench, kind_of
from benchmarks.serving.record import Cell, percentile
from benchmarks.serving.works import Work

TIMES_CAPACITY = (1, 2, 4)
CALLERS_AT_CAPACITY = 4
REFUSALS = (429, 503)
GOODPUT, REFUSAL_P50, REFUSAL_P99 = "goodput / capacity", "refusal p50, ms", "refusal p99, ms"
ADMITTED_P99, RUNNING, INFERRING = "admitted p99 / deadline", "running, most", "inferences at a time, mean"
# What runs now, under the names such a gauge may have.
_RUNNING = re.compile(
    r"^restore_(?:slots_busy|slots_running|running\w*|tiles_running)(?:\{[^}]*\})? ([0-9.e+]+)$", re.M
)
_LOOK_S = 0.5


def overload(bench: Bench, service: Service, deadline_times: float) -> None:
    """A round: capacity first, then arrivals at multiples of it, in random order.

    Args:
        bench: Everything.
        service: Who is overloaded.
        deadline_times: The deadline as a multiple of the bare loop's time.
    """
    for work in [work for work in bench.kinds("short", "long") if work.format == "jpeg"]:
        seconds = bench.pace.overloaded_s[kind_of(work)]
        bare = statistics.median(bench.bare.loop(work, 5)["seconds"])
        deadline_ms = round(1000 * bare * deadline_times)
        full = service.load(work, concurrency=CALLERS_AT_CAPACITY, seconds=seconds / 2)
        capacity = sum(call["status"] == 200 for call in full["calls"]) / full["wall_s"]
        bench.record.add(Cell("overload", work.name, service.name, "", "capacity, per second"), capacity)
        bench.record.add(Cell("overload", work.name, service.name, "", "deadline, ms"), deadline_ms)
        for times in bench.random.sample(TIMES_CAPACITY, len(TIMES_CAPACITY)):
            _one_load(bench, service, work, times, capacity, deadline_ms)


def _one_load(bench: Bench, service: Service, work: Work, times: int, capacity: float, deadline_ms: int) -> None:
    with _watching(service) as running:
        result = service.load(
            work,
            {"X-Deadline-Ms": str(deadline_ms)},
            rate=times * capacity,
            seconds=bench.pace.overloaded_s[kind_of(work)],
            seed=bench.random.randrange(2**31),
            timeout_s=3 * deadline_ms / 1000 + 2,
        )
    calls, wall = result["calls"], result["wall_s"]
    good = [call for call in calls if call["status"] == 200]
    refused = [1000 * call["seconds"] for call in calls if call["status"] in REFUSALS]
    in_time = [call for call in good if 1000 * call["seconds"] <= deadline_ms]

    def add(measure: str, value: float) -> None:
        bench.record.add(Cell("overload", work.name, service.name, f"{times} x capacity", measure), value)

    add(GOODPUT, len(in_time) / wall / capacity)
    add("refused %", 100 * len(refused) / len(calls))
    add("answered late %", 100 * (len(good) - len(in_time)) / len(calls))
    add("504 %", 100 * sum(call["status"] == 504 for call in calls) / len(calls))
    known = (200, 504, *REFUSALS)
    add("anything else %", 100 * sum(call["status"] not in known for call in calls) / len(calls))
    if good:
        add(ADMITTED_P99, 1000 * percentile([call["seconds"] for call in good], 99) / deadline_ms)
        add(INFERRING, sum(call["timing"].get("inference", 0.0) for call in good) / 1000 / wall)
    if refused:
        add(REFUSAL_P50, percentile(refused, 50))
        add(REFUSAL_P99, percentile(refused, 99))
    if running:
        add(RUNNING, max(running))
    add("generator late p99, ms", 1000 * percentile([call["late_s"] for call in calls], 99))
    add("generator CPU %", 100 * result["cpu_s"] / wall)


@contextlib.contextmanager
def _watching(service: Service) -> Iterator[list[float]]:
    """Look at the gauge of what runs, a few times a second, on a thread; an empty list when there is no such gauge."""
    seen, over = list[float](), threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_S):
            with contextlib.suppress(OSError):
                values = [float(value) for value in _RUNNING.findall(service.get("/metrics"))]
                if values:
                    seen.append(sum(values))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
