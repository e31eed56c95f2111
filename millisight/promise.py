"""Does a bundle keep its budget on this machine? Its file timed plainly, where torch and the latency table are not."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtime import Engine, LatencyRecord, device_name, engine_version
from runtime.timing import lower_half_mean

WARMUP = 5
RUNS = 60
SECONDS = 20.0
"""Time to spend on the runs; the first one is always finished."""
ALLOWED = 1.02
"""Share of the budget up to which it counts as kept: plain runs are no better than that."""


@dataclass(frozen=True)
class Promise:
    """A latency record and what its file takes here.

    Attributes:
        record: What the bundle says.
        raw_ms: Mean of the faster half of the runs, as the clock said, in milliseconds.
        runs: How many were measured.
        device: Processor or GPU they were measured on.
        engine: With its version.
    """

    record: LatencyRecord
    raw_ms: float
    runs: int
    device: str
    engine: str

    @property
    def holds(self) -> bool:
        """Within the budget, or over it by no more than 2 %."""
        return self.raw_ms <= ALLOWED * self.record.budget_ms

    @property
    def content(self) -> dict[str, object]:
        """For machines."""
        record = self.record
        return {
            "target": record.target,
            "width": record.width,
            "height": record.height,
            "measured_raw_ms": self.raw_ms,
            "runs": self.runs,
            "predicted_ms": record.predicted_ms,
            "predicted_error_ms": record.predicted_error_ms,
            "budget_ms": record.budget_ms,
            "device": self.device,
            "engine": self.engine,
            "recorded_device": record.device,
            "recorded_engine": record.engine_version,
            "holds": self.holds,
        }

    @property
    def row(self) -> tuple[str, ...]:
        """For people: target, size, measured, runs, predicted, budget, verdict."""
        record = self.record
        error = "" if record.predicted_error_ms is None else f" ± {record.predicted_error_ms:.2g}"
        return (
            record.target,
            f"{record.width}x{record.height}",
            f"{self.raw_ms:.4g}",
            str(self.runs),
            f"{record.predicted_ms:.4g}{error}",
            f"{record.budget_ms:.4g}",
            "holds" if self.holds else "does not hold",
        )

    @property
    def elsewhere(self) -> str:
        """What it was promised for and what this is, if they differ; otherwise empty."""
        record = self.record
        if (self.device, self.engine) == (record.device, record.engine_version):
            return ""
        return f"promised for {record.device} with {record.engine_version}; this is {self.device} with {self.engine}"


def time_promise(engine: Engine, record: LatencyRecord) -> Promise:
    """Time a bundle's file on one random picture of a record's size.

    Raises:
        EngineError: The engine refuses the size.
    """
    picture = np.random.default_rng(0).random((1, 3, record.height, record.width), dtype=np.float32)
    ms, runs = plain_ms(engine.timer(picture))
    return Promise(record, ms, runs, device_name(engine.target), engine_version(engine.target))


def plain_ms(timer: Callable[[], float]) -> tuple[float, int]:
    """Milliseconds of the faster half of the runs, and how many were measured, warm-up left out.

    Args:
        timer: Does the work once and returns the seconds that it took.
    """
    warming = [timer()]
    while len(warming) < WARMUP and sum(warming) < SECONDS / 4:
        warming.append(timer())
    seconds = [timer()]
    while len(seconds) < RUNS and sum(seconds) < SECONDS:
        seconds.append(timer())
    return 1000.0 * lower_half_mean(seconds), len(seconds)
