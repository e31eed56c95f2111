"""What does one cell per level, instead of one per route, save? `python -m benchmarks.claims.hinas_sharing`.

One softmax search step of the HiNAS space at its published search sizes (on small patches), with what is routed to a
level summed before a single cell, and with a cell for every route. Counted are the live bytes at their peak, and the
bytes that the cells of each level keep for backward. In the third layer the middle level has three incoming routes.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.claims.common import Claim, Verdict, one_thread, write_claim
from benchmarks.claims.mdarts_memory import frozen
from benchmarks.claims.memory import SavedBytes, hold_gradients, parameter_bytes, peak_bytes
from models import Supernet
from models.search_spaces.hinas import SPACE
from search.relaxation import Moment, Softmax
from training import get_loss

LIMIT = 0.4
CLAIM = Claim(
    name="hinas_sharing",
    text="Summing what is routed to a level before one cell cuts the activations of layers with three incoming routes "
    "towards a third.",
    source="HiNAS (Zhang et al., CVPR 2020)",
    rule=f"in both updates, kept activations of cells with three incoming routes at most {LIMIT} of those without "
    "sharing, and a lower peak of the whole step",
)

SPACE_CONFIG: dict[str, Any] = {"layers": 3, "nodes": 4, "channels": 10, "stem_channels": 64, "decoder": (48, 128)}
BATCH, PATCH = 1, 24
THREE = 3
"""Routes into a level from the narrower, the same and the wider one."""

Phase = Literal["architecture", "weights"]
PHASES: tuple[Phase, ...] = ("architecture", "weights")


@dataclass(frozen=True)
class Need:
    """Bytes of one update: the peak of live ones, those that cells keep by (layer, level), and all parameters."""

    peak: int
    kept: dict[tuple[int, int], int]
    parameters: int


def cells(supernet: Supernet) -> dict[str, nn.Module]:
    """`layer/level/name` -> cell; without sharing a level has several."""
    layers: Any = supernet.network.layers
    return {
        f"{number}/{name.rpartition('_')[2]}/{name}": cell
        for number, layer in enumerate(layers, 1)
        for name, cell in layer.cells.items()
    }


def incoming(values: dict[str, Any]) -> dict[tuple[int, int], int]:
    """(layer, level) -> routes that lead there."""
    config = SPACE.parse_config({**values, "shared_cells": False})
    with torch.device("meta"):
        labels = list(cells(SPACE.supernet(config)))
    places = [tuple(int(part) for part in label.split("/")[:2]) for label in labels]
    return {(place[0], place[1]): places.count(place) for place in places}


def need(phase: Phase, values: dict[str, Any], *, shared: bool, batch: int, patch: int) -> Need:
    """Of one update of the supernet."""
    torch.manual_seed(0)
    supernet = SPACE.supernet(SPACE.parse_config({**values, "shared_cells": shared}))
    supernet.train()
    x, y = torch.rand(batch, 3, patch, patch), torch.rand(batch, 3, patch, patch)
    loss, moment = get_loss("charbonnier"), Moment(phase, 0.5, 0.0, np.random.default_rng(0))

    def step() -> Tensor:
        for choice in supernet.choices.values():
            choice.decide(Softmax().select(choice, moment))
        return loss(supernet(x), y)

    parameters = list(supernet.parameters())
    with frozen(list(supernet.weight_parameters().values()) if phase == "architecture" else []):
        hold_gradients(step, parameters)
        peak = peak_bytes(step, parameters)
        saved = SavedBytes()
        with saved.counting(cells(supernet), parameters):
            step()
    kept: dict[tuple[int, int], int] = {}
    for label, count in saved.by_label.items():
        layer, level, _ = label.split("/")
        place = int(layer), int(level)
        kept[place] = kept.get(place, 0) + count
    return Need(peak, kept, parameter_bytes(supernet))


def main() -> None:
    """Measure both updates, with and without sharing, and write the result."""
    one_thread()
    routes = incoming(SPACE_CONFIG)
    rows: list[dict[str, str | float | int]] = []
    at_three, peaks = [], []
    mib = 1 / 2**20
    for phase in PHASES:
        shared, apart = (need(phase, SPACE_CONFIG, shared=s, batch=BATCH, patch=PATCH) for s in (True, False))
        parts: list[tuple[str, int | str, float, float]] = [
            (
                f"MiB kept by cells of layer {place[0]}, level {place[1]}",
                routes[place],
                shared.kept[place],
                apart.kept[place],
            )
            for place in sorted(routes)
        ]
        parts.append(("MiB at the peak of the update", "all", shared.peak, apart.peak))
        parts.append(("MiB of parameters", "all", shared.parameters, apart.parameters))
        rows += [
            {
                "update": phase,
                "part": part,
                "incoming routes": count,
                "shared": ours * mib,
                "per route": theirs * mib,
                "ratio": ours / theirs,
            }
            for part, count, ours, theirs in parts
        ]
        at_three += [shared.kept[place] / apart.kept[place] for place, count in routes.items() if count == THREE]
        peaks.append(shared.peak / apart.peak)
    verdict: Verdict = "holds" if max(at_three) <= LIMIT and max(peaks) < 1 else "does not hold"
    why = (
        f"Kept by cells with three incoming routes: {', '.join(f'{ratio:.2f}' for ratio in at_three)} of what they "
        f"keep per route (architecture, weight update); peak of the update {', '.join(f'{r:.2f}' for r in peaks)}."
    )
    sizes = {"space": SPACE_CONFIG, "batch": BATCH, "patch": PATCH, "dtype": "float32"}
    write_claim(CLAIM, verdict, why, rows, seeds=(0,), sizes=sizes)


if __name__ == "__main__":
    main()
