"""Timing exported graphs in the engine that serves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime import Target
from runtime.engine import open_engine
from runtime.timing import StabilityRule, Timing, time_interleaved


@dataclass(frozen=True)
class Clock:
    """Name and function; `cpu` counts this process' processor time, which neighbours on the machine cannot disturb."""

    name: str
    now: Callable[[], float]


def clock_for(target: Target) -> Clock:
    """Processor time where one thread does all the work, wall time otherwise."""
    if target.device == "cpu" and target.threads == 1:
        return Clock("cpu", time.process_time)
    return Clock("wall", time.perf_counter)


def time_graphs(
    graphs: Mapping[str, bytes],
    target: Target,
    size: tuple[int, int],
    rule: StabilityRule,
    *,
    seed: int = 0,
    on_round: Callable[[int, int], None] | None = None,
) -> dict[str, Timing]:
    """Time ONNX graphs against each other on one random (1, 3, H, W) image, in turns and in random order.

    Args:
        graphs: Name -> serialised model.
        target: Where they run.
        size: (height, width).
        rule: When a timing counts as settled.
        seed: Order of the turns.
        on_round: Called with (settled, total) after each round.
    """
    image = np.random.default_rng(seed).random((1, 3, *size), dtype=np.float32)
    engines = {name: open_engine(model, target) for name, model in graphs.items()}
    subjects = {name: _once(engine.run, image) for name, engine in engines.items()}
    return time_interleaved(subjects, rule, seed=seed, clock=clock_for(target).now, on_round=on_round)


def _once(run: Callable[[NDArray[np.float32]], object], image: NDArray[np.float32]) -> Callable[[], object]:
    return lambda: run(image)
