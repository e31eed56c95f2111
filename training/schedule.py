"""Learning-rate schedules as plain functions of the step."""

import math
from collections.abc import Sequence


def cosine(step: int, steps: int, peak: float, *, warmup: int = 0, floor: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then half a cosine from `peak` down to `floor` at the last step."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def cosine_cycles(step: int, cycles: Sequence[int], peak: float, *, warmup: int = 0) -> float:
    """One `cosine` after the other, each of its own length; all but the first rise to half the peak only."""
    start = 0
    for number, length in enumerate(cycles):
        if step < start + length:
            height = peak if number == 0 else peak / 2
            return cosine(step - start, length, height, warmup=warmup if number == 0 else 0)
        start += length
    return 0.0
