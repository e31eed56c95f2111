"""Do several rains of one background in a batch help? `python -m benchmarks.claims.manas_multi_to_one`.

One fixed network of the MANAS space is trained three ways, on equally many images and steps: backgrounds each in one
random rain (one-to-one), backgrounds each in light, medium and heavy rain without the loss between them, and with it
(multi-to-one). Scored at all three rains of each held-out photograph: PSNR, and how far the three outputs lie apart.
"""

from typing import Any

import numpy as np

from benchmarks.claims.common import (
    SEEDS,
    Bench,
    Claim,
    Verdict,
    derived,
    load_bench,
    mean_and_spread,
    one_thread,
    short_training,
    write_claim,
)
from models import get_space, num_parameters, restore_whole
from search.methods.manas import LOSS
from training import TrainConfig

CLAIM = Claim(
    name="manas_multi_to_one",
    text="Training on several rains of one background (multi-to-one) beats one rain each at equal steps: higher PSNR, "
    "outputs that differ less between rains.",
    source="MANAS (Cai et al., TCSVT 2023)",
    rule="mean over seeds of PSNR(multi-to-one) - PSNR(one-to-one) more than one standard error above zero, and a "
    "smaller variance between rains in every seed",
)

SPACE_CONFIG: dict[str, Any] = {
    "channels": 8,
    "stages": (2,),
    "modules": 2,
    "bottlenecks": 1,
    "expansion": 2,
    "residual": True,
}
STEPS, BACKGROUNDS, PATCH = 300, 4, 32
ONE, VERSIONS, MULTI = "one-to-one", "versions, no internal loss", "multi-to-one"
ARMS = (ONE, VERSIONS, MULTI)


def settings(arm: str, seed: int, severities: int) -> TrainConfig:
    """The training of one run: the same number of images in each step."""
    loss = LOSS if arm == MULTI else tuple(term for term in LOSS if term["name"] != "internal")
    batch = BACKGROUNDS * severities if arm == ONE else BACKGROUNDS
    values = {"steps": STEPS, "batch": batch, "patch": PATCH, "lr": 2e-3, "loss": loss, "checkpoint_every": STEPS}
    return TrainConfig.model_validate({**values, "seed": seed})


def across_rains(outputs: np.ndarray[Any, np.dtype[np.float32]]) -> float:
    """Mean over pixels of the variance between versions, in squared grey levels: (versions, 3, H, W) in [0, 1]."""
    return float((255.0 * outputs.astype(np.float64)).var(axis=0).mean())


def run(arm: str, seed: int, bench: Bench) -> dict[str, str | float | int]:
    """Train and score one network; `bench` holds every photograph at every rain."""
    space = get_space("manas")
    config = space.parse_config(SPACE_CONFIG)
    network = derived(space, config, space.reference_picks(config), seed)
    severities = bench.task.severities
    trained = short_training(network, settings(arm, seed, len(severities)), bench, versions=arm != ONE)
    outputs = {pair.name: restore_whole(trained, pair.degraded) for pair in bench.pairs}
    row: dict[str, str | float | int] = {"training": arm, "seed": seed}
    scores = {}
    for severity in severities:
        pairs = [pair for pair in bench.pairs if pair.name.endswith(f"@{severity}")]
        scores[severity] = float(np.mean([bench.task.psnr(outputs[p.name], p.clean) for p in pairs]))
    backgrounds = dict.fromkeys(pair.name.rpartition("@")[0] for pair in bench.pairs)
    apart = [across_rains(np.stack([outputs[f"{name}@{s}"] for s in severities])) for name in backgrounds]
    row |= {f"PSNR {severity}": value for severity, value in scores.items()}
    row |= {"PSNR mean": float(np.mean(list(scores.values()))), "variance across rains": float(np.mean(apart))}
    return {**row, "parameters": num_parameters(trained)}


def main() -> None:
    """Run all and write the result."""
    one_thread()
    # Four photographs at three rains.
    bench = load_bench("derain", pairs=12)
    rows = [run(arm, seed, bench) for arm in ARMS for seed in SEEDS]

    def of(arm: str, column: str) -> list[float]:
        return [float(row[column]) for row in rows if row["training"] == arm]

    gains = [multi - one for one, multi in zip(of(ONE, "PSNR mean"), of(MULTI, "PSNR mean"), strict=True)]
    gain, spread = mean_and_spread(gains)
    error = spread / len(SEEDS) ** 0.5
    closer = all(
        m < o for o, m in zip(of(ONE, "variance across rains"), of(MULTI, "variance across rains"), strict=True)
    )
    verdict: Verdict = "holds" if gain > error and closer else "does not hold"
    untrained = {
        severity: float(
            np.mean([bench.task.psnr(p.degraded, p.clean) for p in bench.pairs if p.name.endswith(f"@{severity}")])
        )
        for severity in bench.task.severities
    }
    why = (
        f"PSNR multi-to-one - one-to-one {gain:+.2f} +- {error:.2f} dB (standard error); mean PSNR and variance across "
        "rains: "
        + "; ".join(
            f"{arm} {np.mean(of(arm, 'PSNR mean')):.2f} dB, {np.mean(of(arm, 'variance across rains')):.1f}"
            for arm in ARMS
        )
        + "."
    )
    sizes = {
        "space": SPACE_CONFIG,
        "steps": STEPS,
        "images per step": BACKGROUNDS * len(bench.task.severities),
        "patch": PATCH,
        "task": "derain",
        "input dB": untrained,
    }
    write_claim(CLAIM, verdict, why, rows, sizes=sizes)


if __name__ == "__main__":
    main()
