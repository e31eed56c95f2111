"""How much of the network stands at which width level, and how what is routed to one level is weighed.

The occupancy q of a level is the probability of standing there when every layer moves by its route's weights b:
q[0, 0] = 1 and q[l + 1, h'] = sum over h of q[l, h] * b[l, h, h']. What arrives at a level is averaged by where it
comes from: share(h -> h') = q[l, h] * b[l, h, h'] / q[l + 1, h'], which sums to one over h.

The released code weighs by b alone. Then a level that is hardly reached sends on as much as one that is, and with
one-hot routes the levels off the picked path still feed those on it: the supernet would not compute what the derived
network does. With shares it does, and a path's weight is the product of its b, which is what Viterbi maximises.
"""

from collections.abc import Mapping

import torch

from models.mixed import Weight

Step = tuple[int, int]
"""(level before, level after)."""


def flow(
    occupancy: Mapping[int, Weight], routes: Mapping[Step, Weight]
) -> tuple[dict[int, Weight], dict[Step, Weight]]:
    """One layer on.

    Args:
        occupancy: Level -> q, for the levels that are reached.
        routes: Step -> b, for the active moves of these levels.

    Returns:
        The next layer's occupancy, and step -> share. Levels that nothing leads to are in neither.
    """
    parts = {step: occupancy[step[0]] * weight for step, weight in routes.items() if step[0] in occupancy}
    arrived: dict[int, Weight] = {}
    for (_, after), part in parts.items():
        arrived[after] = arrived[after] + part if after in arrived else part
    shares = {step: _ratio(part, arrived[step[1]]) for step, part in parts.items()}
    return arrived, shares


def two_steps(before: Mapping[Step, Weight], after: Mapping[Step, Weight]) -> dict[Step, Weight]:
    """Shares over two layers: step -> how much of what stands at its end stood at its beginning two layers ago."""
    shares: dict[Step, Weight] = {}
    for (start, middle), earlier in before.items():
        for (same, end), later in after.items():
            if middle == same:
                share = earlier * later
                shares[start, end] = shares[start, end] + share if (start, end) in shares else share
    return shares


def _ratio(part: Weight, whole: Weight) -> Weight:
    if part is whole:
        return 1.0  # A single way in: nothing to weigh.
    if isinstance(whole, float):
        return part / whole
    # A level whose every way in has underflowed to zero gives zero, not NaN.
    return part / whole.clamp_min(torch.finfo(whole.dtype).tiny)
