"""Should layers choose their operations apart? `python -m benchmarks.claims.hinas_untied`.

Searches of a small HiNAS space, softmax, at equal steps: all layers obeying one set of choices (the paper's first
version), or each its own (the later one). What the paper's rule derives is trained from scratch, briefly. Widths are
left out, so that the two differ in nothing else. Randomly drawn networks of the untied space stand beside them.
"""

from typing import Any

import numpy as np

from benchmarks.claims.common import (
    SEEDS,
    Bench,
    Claim,
    Verdict,
    derived,
    input_db,
    load_bench,
    mean_and_spread,
    one_thread,
    score,
    short_search,
    short_training,
    write_claim,
)
from models import num_parameters
from models.search_spaces.hinas import SPACE
from search.relaxation import Softmax
from search.settings import SearchConfig
from training import TrainConfig

CLAIM = Claim(
    name="hinas_untied",
    text="Layers that choose their operations apart (untied) restore at least as well as layers that obey one set of "
    "choices, at equal search steps.",
    source="HiNAS (Zhang et al., CVPR 2020, and its extension)",
    rule="mean over seeds of PSNR(untied) - PSNR(tied) more than two standard errors above zero; does not hold if "
    "it is as far below; in between, the difference is not testable at this size",
)

SPACE_CONFIG: dict[str, Any] = {
    "layers": 3,
    "nodes": 2,
    "channels": 8,
    "factors": (1.0,),
    "stem_channels": 8,
    "decoder": (8, 8),
    "operations": ("act_conv3x3", "act_separable3x3", "act_dilated3x3", "skip"),
}
STEPS, WARMUP, BATCH, PATCH = 120, 40, 4, 32
TRAVEL = 1e-3 * 1920
"""Rate of the choices times their steps, as published for denoising."""
TRAIN_STEPS = 250
LOSS = ({"name": "mse", "weight": 0.5}, {"name": "log_ssim", "weight": 0.25})
ARMS = ("tied", "untied", "random")


def search_settings(seed: int) -> SearchConfig:
    """The search of one run."""
    return SearchConfig.model_validate(
        {
            "steps": STEPS,
            "warmup": WARMUP,
            "batch": BATCH,
            "patch": PATCH,
            "loss": LOSS,
            "weights": {"optimizer": "adam", "lr": 2e-3, "betas": (0.9, 0.999)},
            "choices": {"optimizer": "adam", "lr": TRAVEL / STEPS, "betas": (0.9, 0.999), "weight_decay": 1e-3},
            "checkpoint_every": STEPS + WARMUP,
            "seed": seed,
        }
    )


def picks_of(arm: str, seed: int, bench: Bench) -> tuple[dict[str, Any], dict[str, str]]:
    """Config and picks of the network that one arm gives."""
    values = {**SPACE_CONFIG, "tied": arm == "tied"}
    config = SPACE.parse_config(values)
    if arm == "random":
        return values, SPACE.random_picks(config, np.random.default_rng([seed, 0xD]))
    _, result = short_search(SPACE, config, {"operation": Softmax()}, search_settings(seed), bench)
    return values, SPACE.paper_picks(config, result.probabilities)


def run(arm: str, seed: int, bench: Bench) -> dict[str, str | float | int]:
    """Search, derive, train, score."""
    values, picks = picks_of(arm, seed, bench)
    network = derived(SPACE, SPACE.parse_config(values), picks, seed)
    train = TrainConfig(
        steps=TRAIN_STEPS, batch=BATCH, patch=PATCH, lr=2e-3, loss=LOSS, checkpoint_every=TRAIN_STEPS, seed=seed
    )
    trained = short_training(network, train, bench)
    kept = [picked for picked in picks.values() if picked != "none"]
    return {
        "choices": arm,
        "seed": seed,
        "PSNR": score(bench, trained),
        "parameters": num_parameters(trained),
        "skips among kept edges": kept.count("skip") / len(kept),
    }


def main() -> None:
    """Run all and write the result."""
    one_thread()
    bench = load_bench("denoise")
    rows = [run(arm, seed, bench) for arm in ARMS for seed in SEEDS]
    scores = {arm: [float(row["PSNR"]) for row in rows if row["choices"] == arm] for arm in ARMS}
    differences = [untied - tied for tied, untied in zip(scores["tied"], scores["untied"], strict=True)]
    mean, spread = mean_and_spread(differences)
    error = spread / len(SEEDS) ** 0.5
    verdict: Verdict = "holds" if mean > 2 * error else "does not hold" if mean < -2 * error else "not testable here"
    why = (
        f"PSNR untied - tied {mean:+.2f} +- {error:.2f} dB (standard error, {len(SEEDS)} seeds); "
        + ", ".join(f"{arm} {np.mean(values):.2f} dB" for arm, values in scores.items())
        + "."
    )
    sizes = {
        "space": SPACE_CONFIG,
        "steps": STEPS,
        "warmup": WARMUP,
        "batch": BATCH,
        "patch": PATCH,
        "training steps": TRAIN_STEPS,
        "task": "denoise",
        "input dB": input_db(bench),
    }
    write_claim(CLAIM, verdict, why, rows, sizes=sizes)


if __name__ == "__main__":
    main()
