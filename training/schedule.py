"""Learning-rate schedules as plain functions of the step."""

import math


def cosine(step: int, steps: int, peak: float, *, warmup: int = 0, floor: float = 0.0) -> float:
    """Linear rise over `warmup` steps, then half a cosine from `peak` down to `floor` at the last step."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
