"""What a time is read from: wall, processor time, or the device itself."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runtime.errors import EngineError
from runtime.target import Target

__all__ = ["Clock", "ClockName", "clock_for", "repeated"]

ClockName = Literal["cpu", "wall", "device"]
"""`cpu`: processor time of this process; `wall`; `device`: events on the device's own stream."""

_TIMED_BY_EVENTS = ("tensorrt", "tensorrtrtx")
_AT_LEAST = 1e-3
_MOST_REPEATS = 100_000


@dataclass(frozen=True)
class Clock:
    """Name, and seconds of which only differences are used.

    The clock of a device is its events, which only its engine's `timer` can read; its `now` raises EngineError.
    """

    name: ClockName
    now: Callable[[], float]


def clock_for(target: Target) -> Clock:
    """What times on a target are read from.

    One thread on the processor: processor time, in which waiting for other processes does not count. Several threads:
    wall time. ONNX Runtime and OpenVINO on a GPU: wall time around synchronised runs. TensorRT and TensorRT-RTX: events
    of the device.
    """
    if target.engine in _TIMED_BY_EVENTS:
        return Clock("device", _not_of_this_host)
    if not target.on_gpu and target.threads == 1:
        return Clock("cpu", time.process_time)
    return Clock("wall", time.perf_counter)


def repeated(work: Callable[[int], float], at_least: float = _AT_LEAST) -> Callable[[], float]:
    """Time something too short for its clock: several runs back to back inside one timed call, divided.

    How many is found here, once, so that later calls do the same work each time. The first run is not counted: it
    captures graphs and fills caches.

    Args:
        work: Does the work so many times back to back and returns the seconds that all of it took.
        at_least: Seconds that a timed call shall take.

    Returns:
        A function that does the work and returns the seconds of one run.

    Raises:
        EngineError: If the clock does not move whatever is done.
    """
    work(1)
    repeats = 1
    while (seconds := work(repeats)) < at_least:
        if repeats >= _MOST_REPEATS:
            raise EngineError(f"{repeats} runs took {seconds} s by the clock; its times cannot be used.")
        # A fifth more than needed, at least twice and at most ten times as many: the first estimates are rough.
        wanted = math.ceil(1.2 * repeats * at_least / seconds) if seconds > 0 else 10 * repeats
        repeats = min(max(wanted, 2 * repeats), 10 * repeats, _MOST_REPEATS)
    return lambda: work(repeats) / repeats


def _not_of_this_host() -> float:
    raise EngineError("Times of a device are read from its own events: use the timer of its engine.")
