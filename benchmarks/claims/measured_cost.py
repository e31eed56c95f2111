"""Claim: at equal measured milliseconds, a search under measured latency finds the better network.

`python -m benchmarks.claims.measured_cost --out FOLDER`, one core; interrupt it at any time, the same command goes on.

Protocol, fixed before the first run:

- Task: colour denoising; training on the embedded photographs and dead leaves with sigma 5 to 55, validation on the
  embedded held-out photographs, whole, at sigma 25, PSNR in RGB. Space, method and lengths: see `setting`.
- One latency table is measured at 256x256 on one thread, in processor time. The budget T lies a third of the way from
  the fastest to the slowest network, as the main job picks it.
- Arms, each searched with seeds 0, 1 and 2, with the same settings, batches and relaxation; only the term that the
  architecture update adds to the loss differs:
  - `latency`: the price of expected ms over T; derived as the best network under T ms (`best_path`);
  - `flops`, `parameters`: the price of expected multiply-accumulates or parameters over a target that lies as far
    between the cheapest and the dearest network as T does in ms (the product's own rule); derived as the best network
    under a limit in that same unit, the largest limit whose network is predicted to keep T;
  - `none`: no price; derived under T ms like `latency`;
  - `random`: 20 different networks of the space, drawn uniformly, those kept whose predicted ms lie in [0.9 T, T].
- Every network is trained from scratch: same steps, batches, schedule and initial seed. An arm's network of seed s is
  trained with seed s; every random network is trained with every seed of `--random-seeds`, and a comparison with
  random uses those seeds alone.
- At the end all networks are exported with their trained weights and timed in the engine in turns, beside each other.
- Verdict: `holds` only if the latency arm's mean over seeds is above that of every other arm and above that of the
  mean random network by at least two standard errors (of the differences seed by seed; for random also of the mean
  over the 20 networks). A smaller margin is no win. Otherwise `does not hold`, with who was ahead of whom.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claims.common import SEEDS, Claim, mean_and_spread, one_thread, write_claim
from benchmarks.claims.measured_cost_experiment import Experiment, Setting
from benchmarks.claims.measured_cost_picks import Picks
from benchmarks.claims.measured_cost_verdict import Margin, paired_margin, rank_among, sampling_error, verdict
from benchmarks.results import Row
from runtime import Target
from search import get_method
from training import TrainConfig

ARMS = ("latency", "flops", "parameters", "none")
RANDOM = 20
BAND = 0.9

CLAIM = Claim(
    name="measured_cost",
    text="At equal measured milliseconds a search under measured latency finds a better network than one under "
    "multiply-accumulates, under parameters or without a price, and than a random network of the same space.",
    source="ours",
    rule="The latency arm's mean dB over seeds is above every other arm's and above the mean of 20 random networks "
    "by at least two standard errors each.",
)


def setting(steps: int) -> Setting:
    """The AutoDerain space at three levels of one block: 20 choices, 10^10 networks."""
    return Setting(
        method=get_method("autoderain"),
        space_config={"channels": (16, 32, 64), "blocks": 1},
        target=Target.parse("cpu-onnxruntime-fp32-1t"),
        side=256,
        search={"warmup": 200, "steps": 300, "batch": 8, "patch": 32},
        train=TrainConfig(steps=steps, batch=8, patch=48, lr=1.2e-3, precision="fp32"),
    )


@dataclass(frozen=True)
class Entry:
    """One arm, or the random networks: its networks by seed (random: by number), with what became of them.

    Attributes:
        name: Of the arm.
        networks: Picks, one per network.
        db: One tuple per network: dB for each seed that it was trained with.
        predicted: ms per network.
        measured: ms per network.
    """

    name: str
    networks: tuple[Picks, ...]
    db: tuple[tuple[float, ...], ...]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]


def main() -> None:
    """Search, train, time and write `benchmarks/results/claims/measured_cost.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/measured_cost"))
    parser.add_argument("--steps", type=int, default=800, help="of every training")
    parser.add_argument("--random-seeds", type=int, nargs="+", default=list(SEEDS), help="of the random networks")
    arguments = parser.parse_args()
    one_thread()
    experiment = Experiment(setting(arguments.steps), arguments.out)
    budget = experiment.budget
    picks = {arm: [experiment.arm(arm, seed) for seed in SEEDS] for arm in ARMS}
    drawn, draws = experiment.random(RANDOM, BAND)
    arm_db = {arm: [experiment.score(found, s) for s, found in zip(SEEDS, picks[arm], strict=True)] for arm in ARMS}
    # Seed by seed, so that an interrupted run has whole seeds.
    by_seed = [[experiment.score(network, seed) for network in drawn] for seed in arguments.random_seeds]
    first = arguments.random_seeds[0]
    named = {f"{arm} {seed}": (found, seed) for arm in ARMS for seed, found in zip(SEEDS, picks[arm], strict=True)}
    named |= {f"random {number}": (network, first) for number, network in enumerate(drawn)}
    ms = experiment.measured(named)
    entries = [
        Entry(
            arm,
            tuple(picks[arm]),
            tuple((db,) for db in arm_db[arm]),
            tuple(experiment.ms_of(found) for found in picks[arm]),
            tuple(ms[f"{arm} {seed}"] for seed in SEEDS),
        )
        for arm in ARMS
    ]
    random = Entry(
        "random",
        tuple(drawn),
        tuple(zip(*by_seed, strict=True)),
        tuple(experiment.ms_of(network) for network in drawn),
        tuple(ms[f"random {number}"] for number in range(RANDOM)),
    )
    margins = latency_margins(arm_db, random.db, arguments.random_seeds)
    why = (
        f"{verdict(margins)[1]} T = {budget}; predicted range {experiment.fastest:.3g} to {experiment.slowest:.3g} ms; "
        f"held-out error of the table {experiment.model.relative_error:.1%}; {draws} draws for {RANDOM} random networks"
    )
    write_claim(
        CLAIM,
        verdict(margins)[0],
        why,
        [row(experiment, entry, random, margins, arguments.random_seeds) for entry in [*entries, random]],
        sizes={**experiment.setting.plain(), "random_networks": RANDOM, "random_seeds": arguments.random_seeds},
    )


def latency_margins(
    arm_db: dict[str, list[float]], random_db: Sequence[Sequence[float]], random_seeds: Sequence[int]
) -> list[Margin]:
    """Margins of the latency arm over every other and over the mean random network.

    Args:
        arm_db: Arm -> dB for each of `SEEDS`.
        random_db: Network -> dB for each of `random_seeds`.
        random_seeds: Some of `SEEDS`, at least two.
    """
    latency = arm_db["latency"]
    margins = [paired_margin(arm, latency, arm_db[arm]) for arm in ARMS if arm != "latency"]
    mean_network = [sum(network[i] for network in random_db) / len(random_db) for i in range(len(random_seeds))]
    same_seeds = [latency[SEEDS.index(seed)] for seed in random_seeds]
    means = [sum(network) / len(network) for network in random_db]
    return [*margins, paired_margin("random", same_seeds, mean_network, sampling_error(means))]


def row(
    experiment: Experiment, entry: Entry, random: Entry, margins: Sequence[Margin], random_seeds: Sequence[int]
) -> Row:
    """One line of the table; the spread is over seeds for arms, over networks (each its mean over seeds) for random."""
    means = [sum(network) / len(network) for network in entry.db]
    mean, spread = mean_and_spread(means)
    random_means = [sum(network) / len(network) for network in random.db]
    is_random = entry.name == random.name
    comparable = [means[SEEDS.index(seed)] for seed in random_seeds] if not is_random else means
    margin = next((m for m in margins if m.rival == entry.name), None)
    macs, parameters = experiment.static("flops"), experiment.static("parameters")
    count = len(entry.networks)
    return {
        "arm": entry.name,
        "networks": len({experiment.genotype_id(picks) for picks in entry.networks}),
        "trainings": sum(len(network) for network in entry.db),
        "predicted ms": sum(entry.predicted) / count,
        "measured ms": sum(entry.measured) / count,
        "slowest measured ms": max(entry.measured),
        "MMACs": sum(macs.of(experiment.model.terms, p) for p in entry.networks) / count / 1e6,
        "parameters": round(sum(parameters.of(experiment.model.terms, p) for p in entry.networks) / count),
        "PSNR dB": mean,
        "spread dB": spread,
        "best dB": max(means),
        "worst dB": min(means),
        f"rank among {RANDOM} random": None if is_random else rank_among(mean_and_spread(comparable)[0], random_means),
        "latency ahead by dB": margin.db if margin else None,
        "standard error dB": margin.error_db if margin else None,
        "outcome for latency": margin.outcome if margin else None,
    }


if __name__ == "__main__":
    main()
