"""What the claim scripts share: seeds, the form of a result, short searches, short trainings, dB on fixed pairs.

Everything runs on one thread of the processor and follows from its seed, so a table can be made again to the digit on
the same machine.
"""

import datetime
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.results import FOLDER, Row, markdown
from models import ChoiceKind, Network, Space, SpaceConfig, Supernet, inherit_weights, restore_whole
from runtime import describe_host
from search.complexity import Complexity, NoComplexity
from search.pipeline import split_samples
from search.relaxation import Relaxation
from search.searcher import Searcher, SearchResult, Steering
from search.settings import SearchConfig
from tasks import BatchStream, Sample, Task, ValidationPair, evaluate, get_task, load_data, validation_pairs
from training import TrainConfig, train

SEEDS = (0, 1, 2)
RESULTS = FOLDER / "claims"
CPU = torch.device("cpu")

Verdict = Literal["holds", "does not hold", "not testable here"]


@dataclass(frozen=True)
class Claim:
    """What is claimed, and when we say that it holds. Both are written down before anything is run.

    Attributes:
        name: Of the script and of the result file.
        text: The claim, one sentence.
        source: Paper, or "ours".
        rule: What must come out for the verdict "holds".
    """

    name: str
    text: str
    source: str
    rule: str

    @property
    def command(self) -> str:
        """What makes the result file."""
        return f"python -m benchmarks.claims.{self.name}"


def write_claim(
    claim: Claim,
    verdict: Verdict,
    why: str,
    rows: Sequence[Row],
    *,
    seeds: Sequence[int] = SEEDS,
    sizes: Mapping[str, Any] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Write `<folder>/<claim>.json` and print its rows.

    Args:
        claim: What was tested.
        verdict: What came out.
        why: The numbers behind the verdict, one or two sentences.
        rows: The whole table, equal columns.
        seeds: That were run.
        sizes: Everything that fixes the size of the experiment (steps, patches, channels).
        folder: Where to.
    """
    host = describe_host().model_dump(mode="json")
    versions = {"python": host.pop("python"), **host.pop("packages")}
    content = {
        "name": claim.name,
        "claim": claim.text,
        "source": claim.source,
        "rule": claim.rule,
        "verdict": verdict,
        "why": why,
        "command": claim.command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": host,
        "versions": versions,
        "seeds": list(seeds),
        "sizes": dict(sizes or {}),
        "rows": [dict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{claim.name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows))
    print(f"\n{verdict}: {why}\nwritten to {path}")
    return path


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table, floats with four digits."""
    return markdown([{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows])


def one_thread() -> None:
    """What every script does first: results do not depend on how many cores there are."""
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Bench:
    """A task with its pictures, set apart.

    Attributes:
        task: The task.
        train: All training pictures, for retraining.
        weights: Those on which a search trains weights.
        choices: Those on which it moves choices; none of `weights`.
        pairs: Fixed pairs to score on; photographs that no training sees.
    """

    task: Task
    train: tuple[Sample, ...] = field(repr=False)
    weights: tuple[Sample, ...] = field(repr=False)
    choices: tuple[Sample, ...] = field(repr=False)
    pairs: tuple[ValidationPair, ...] = field(repr=False)


def load_bench(task: str, scale: int | None = None, *, pairs: int = 4, crop: int = 128) -> Bench:
    """The embedded photographs and dead leaves under a task.

    Args:
        task: Name of the task.
        scale: 2 or 4 for super-resolution.
        pairs: Validation pairs, at least one per photograph to see them all (there are four).
        crop: Their side in degraded pixels.
    """
    found = get_task(task, scale)
    images = load_data(None)
    weights, choices = split_samples(images.train, 0.5)
    held_out = tuple(validation_pairs(found, images.valid, pairs, crop))
    return Bench(found, images.train, weights, choices, held_out)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    else:
        given.mkdir(parents=True, exist_ok=True)
        yield given


def short_search(
    space: Space[Any],
    config: SpaceConfig,
    relaxations: Mapping[ChoiceKind, Relaxation],
    settings: SearchConfig,
    bench: Bench,
    *,
    complexity: Callable[[Supernet], Complexity] = lambda _: NoComplexity(),
    folder: Path | None = None,
) -> tuple[Searcher, SearchResult]:
    """Search a supernet of one config from the settings' seed.

    Args:
        space: The space.
        config: Of the supernet.
        relaxations: Kind of choice -> relaxation.
        settings: Steps, batch, patch, seed and the rest.
        bench: Pictures.
        complexity: Makes what slow networks pay; nothing by default.
        folder: For checkpoint and log; a temporary one by default. A search that is in it is resumed.

    Returns:
        The searcher, which can still decide all choices (`select`), and what it found.
    """
    torch.manual_seed(settings.seed)
    supernet = space.supernet(config)
    steering = Steering(relaxations, complexity(supernet), None, space.exit_order(config))
    searcher = Searcher(supernet, steering, settings, CPU)
    streams = [
        BatchStream(bench.task, part, settings.patch, settings.batch, settings.seed, settings.versions)
        for part in (bench.weights, bench.choices)
    ]
    with _folder(folder) as place:
        result = searcher.run(streams[0], streams[1], place / "search.safetensors", place / "search.jsonl")
    return searcher, result


def short_training(
    network: Network, settings: TrainConfig, bench: Bench, *, versions: bool = False, folder: Path | None = None
) -> Network:
    """Train a network on all training pictures; returns the moving average of its weights."""
    stream = BatchStream(bench.task, bench.train, settings.patch, settings.batch, settings.seed, versions)
    with _folder(folder) as place:
        trained = train(network, stream, settings, place / "training.safetensors", CPU).network
    assert isinstance(trained, Network)
    return trained


def argmax_picks(result: SearchResult) -> dict[str, str]:
    """Each choice's most probable candidate, for spaces in which every combination is a network."""
    return {choice: max(entry, key=entry.__getitem__) for choice, entry in result.probabilities.items()}


def derived(space: Space[Any], config: SpaceConfig, picks: Mapping[str, str], seed: int) -> Network:
    """The network of these picks, with fresh weights that follow from the seed."""
    torch.manual_seed(seed)
    return space.build(space.genotype(config, dict(picks)))


def inherited(space: Space[Any], config: SpaceConfig, picks: Mapping[str, str], supernet: Supernet) -> Network:
    """The network of these picks with the supernet's weights."""
    genotype = space.genotype(config, dict(picks))
    network = space.build(genotype)
    inherit_weights(network, supernet, genotype.picks)
    return network


def score(bench: Bench, network: Network | Supernet) -> float:
    """Mean dB over the fixed pairs; a supernet is scored as its choices are decided now."""
    runner = network.network if isinstance(network, Supernet) else network
    return evaluate(bench.task, bench.pairs, lambda image: restore_whole(runner, image)).restored_db


def input_db(bench: Bench) -> float:
    """Mean dB of doing nothing."""
    return float(np.mean([bench.task.psnr(bench.task.baseline(p.degraded), p.clean) for p in bench.pairs]))


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation between seeds (n - 1; zero for a single value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
