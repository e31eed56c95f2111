"""Learning-rate schedules: plain functions of the step, and the settings that pick one."""

import math
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ScheduleName = Literal["cosine", "poly", "milestones", "oscillating"]


def cosine(step: int, steps: int, peak: float, *, warmup: int = 0, floor: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then half a cosine from `peak` down to `floor` at the last step."""
    if step < warmup:
        return _rise(step, peak, warmup)
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def cosine_cycles(step: int, cycles: Sequence[int], peak: float, *, warmup: int = 0, floor: float = 0.0) -> float:
    """One `cosine` after the other, each of its own length; all but the first rise to half the peak only.

    Those fall to half the floor, so that each spans the same ratio.
    """
    start = 0
    for number, length in enumerate(cycles):
        if step < start + length:
            share = 1.0 if number == 0 else 0.5
            warm = warmup if number == 0 else 0
            return cosine(step - start, length, share * peak, warmup=warm, floor=share * floor)
        start += length
    return 0.0


def poly(step: int, total: int, peak: float, *, power: float = 0.9, warmup: int = 0, floor: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then `(1 - t) ** power` from `peak` towards `floor` at step `total`.

    HiNAS retrains under it with power 0.9.
    """
    if step < warmup:
        return _rise(step, peak, warmup)
    return floor + (peak - floor) * math.pow(_remaining(step, total, warmup), power)


def milestones(step: int, total: int, peak: float, marks: Sequence[float], *, warmup: int = 0) -> float:
    """Linear rise over `warmup` steps, then `peak`, halved at every mark (a share of the run) that lies behind.

    The Trilevel paper's base trains so, with marks at 1/4, 1/2 and 3/4.
    """
    if step < warmup:
        return _rise(step, peak, warmup)
    return math.ldexp(peak, -sum(step / total >= mark for mark in marks))


def oscillating(
    step: int, total: int, peak: float, floor: float, cycles: int, power: float = 0.9, *, warmup: int = 0
) -> float:
    """Whole cosines between `peak` and `floor` under a falling envelope `(1 - t) ** power`.

    The schedule of the HiNAS search, in epochs of which there are 100:
    `0.001 + 0.024 * (1 + cos(pi * t / 10)) / 2 * (1 - t / 100) ** 0.9`, five cycles.
    """
    if step < warmup:
        return _rise(step, peak, warmup)
    remaining = _remaining(step, total, warmup)
    wave = 0.5 * (1.0 + math.cos(2.0 * math.pi * cycles * (1.0 - remaining)))
    return floor + (peak - floor) * wave * math.pow(remaining, power)


def _rise(step: int, peak: float, warmup: int) -> float:
    return peak * (step + 1) / warmup


def _remaining(step: int, total: int, warmup: int) -> float:
    """Share of the steps after the warm-up that still lies ahead, 1 at the first of them and 0 at `total`."""
    return max(0.0, 1.0 - (step - warmup) / max(1, total - warmup))


class ScheduleConfig(BaseModel):
    """How a learning rate changes over a run.

    Attributes:
        schedule: Name of a function of this module.
        warmup: Steps of linear rise before it.
        floor: Share of the peak rate towards which it falls (not `milestones`).
        poly_power: Exponent of the decay (`poly`, `oscillating`).
        milestones: Shares of the run at which the rate halves (`milestones`).
        oscillations: Whole cosines in the run (`oscillating`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: ScheduleName = "cosine"
    warmup: int = Field(default=0, ge=0)
    floor: float = Field(default=0.0, ge=0, lt=1)
    poly_power: float = Field(default=0.9, gt=0)
    milestones: tuple[float, ...] = ()
    oscillations: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _every_schedule_setting_is_used(self) -> Self:
        # Settings are compared with their defaults: a config that was written out and read back has all of them set.
        if self.milestones and self.schedule != "milestones":
            raise ValueError(f"milestones do nothing under schedule {self.schedule!r}; use schedule 'milestones'")
        if self.schedule == "milestones" and not self.milestones:
            raise ValueError("schedule 'milestones' needs milestones: shares of the run, for example (0.5, 0.75)")
        if list(self.milestones) != sorted(set(self.milestones)) or not all(0 < mark < 1 for mark in self.milestones):
            raise ValueError(f"milestones are rising shares of the run between 0 and 1, got {self.milestones}")
        if self.floor and self.schedule == "milestones":
            raise ValueError(
                "floor does nothing under schedule 'milestones': its last rate follows from the milestones"
            )
        fields = ScheduleConfig.model_fields
        if self.poly_power != fields["poly_power"].default and self.schedule not in ("poly", "oscillating"):
            raise ValueError(f"poly_power does nothing under schedule {self.schedule!r}; use 'poly' or 'oscillating'")
        if self.oscillations != fields["oscillations"].default and self.schedule != "oscillating":
            raise ValueError(f"oscillations do nothing under schedule {self.schedule!r}; use 'oscillating'")
        return self


def rate_at(config: ScheduleConfig, peak: float, step: int, total: int, restarts: Sequence[int] = ()) -> float:
    """The learning rate of one step.

    Args:
        config: Which schedule.
        peak: Its highest rate.
        step: From 0.
        total: Steps of the run, or of its first cosine.
        restarts: Lengths of further cosines (schedule `cosine` only).
    """
    warmup, floor = config.warmup, config.floor * peak
    match config.schedule:
        case "cosine":
            return cosine_cycles(step, (total, *restarts), peak, warmup=warmup, floor=floor)
        case "poly":
            return poly(step, total, peak, power=config.poly_power, warmup=warmup, floor=floor)
        case "milestones":
            return milestones(step, total, peak, config.milestones, warmup=warmup)
        case "oscillating":
            return oscillating(step, total, peak, floor, config.oscillations, config.poly_power, warmup=warmup)
