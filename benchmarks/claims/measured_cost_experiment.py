"""The pieces of `measured_cost`: table, searches, trainings, timings; each is kept on disk when it is done."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.common import Bench, derived, load_bench, score, short_search, short_training
from benchmarks.claims.measured_cost_picks import Picks, draw_between, largest_limit
from export import export_onnx
from models import ChoiceKind, Network, Supernet, content_hash, get_space
from runtime import StabilityRule, Target, device_name, engine_version
from search import Method
from search.budget import Budget
from search.complexity import BudgetPrice, Complexity, NoComplexity
from search.costs import Expectation, Prices, static_prices
from search.derive import best_path, cheapest, dearest, derive_picks, fastest_and_slowest
from search.files import write_text
from search.latency.measure import RULES, measure_table
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject, time_graphs
from search.latency.table import LatencyTable
from search.pipeline import code_version, round_up_digits
from search.settings import SearchConfig
from search.steering import UNITS
from tasks import embedded_photographs, validation_pair
from training import TrainConfig

SIGMA = "sigma25"
TIMING = StabilityRule(warmup=3, min_runs=20, max_runs=60, tolerance=0.02, max_seconds=4.0)
Probabilities = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Setting:
    """Everything that fixes an experiment but the seeds.

    Attributes:
        method: Gives the space and the default search settings.
        space_config: Sizes of the space.
        target: Where ms are measured; one thread, so that processor time can be counted.
        side: Height and width of the input whose ms count.
        search: Overrides of the method's preset `default`.
        train: Of every network.
    """

    method: Method
    space_config: Mapping[str, Any]
    target: Target
    side: int
    search: Mapping[str, Any]
    train: TrainConfig

    def plain(self) -> dict[str, Any]:
        """As JSON gives it back: tuples are lists there."""
        content = {
            "method": self.method.name,
            "space_config": dict(self.space_config),
            "target": self.target.slug,
            "side": self.side,
            "search": dict(self.search),
            "train": self.train.model_dump(mode="json"),
        }
        found: dict[str, Any] = json.loads(json.dumps(content))
        return found


@dataclass(frozen=True)
class Condition:
    """Under which the arms are compared.

    Attributes:
        relaxation: Of all choices.
        share: Where the budget lies between the fastest and the slowest network.
    """

    relaxation: str
    share: float


class Experiment:
    """One setting's searches, trainings and timings; what is finished is in `folder` and is not done again.

    Args:
        setting: What is run.
        folder: Of this setting alone.

    Raises:
        ValueError: The folder holds another setting's work.
        TableError: It holds the table of another machine.
    """

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting = setting
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.model = self._table()
        wanted = {**setting.plain(), "table": self.model.table.id}
        if self._kept("setting", lambda: wanted) != wanted:
            raise ValueError(f"{folder} holds the work of another setting; choose another folder, or delete it")
        self.bench = photographs_at_sigma()
        self.space, self.config = self.model.space, self.model.config
        self.arcs = self.space.trellis(self.config)
        self.kinds: dict[str, ChoiceKind] = {n: c.kind for n, c in self.space.choices(self.config).items()}
        self.ms_prices = self.model.prices(setting.side, setting.side)
        self.fastest, self.slowest = fastest_and_slowest(self.model, setting.side, setting.side)

    def budget(self, share: float) -> Budget:
        """So far from the fastest to the slowest network, rounded up as the main job rounds it."""
        ms = round_up_digits(self.fastest + share * (self.slowest - self.fastest), 3)
        return Budget(ms, self.setting.side, self.setting.side)

    @property
    def table_error(self) -> float:
        """The table's own relative error at the setting's size."""
        return self.model.relative_error(self.setting.side, self.setting.side)

    def ms_of(self, picks: Mapping[str, str]) -> float:
        """Predicted milliseconds."""
        return self.ms_prices.of(self.model.terms, picks)

    def genotype_id(self, picks: Picks) -> str:
        """Equal for equal networks."""
        return self.space.genotype(self.config, picks).id

    def static(self, arm: str) -> Prices:
        """The arm's counted metric at the budget's size."""
        return static_prices(self.space, self.config, UNITS[arm], self.setting.side, self.setting.side)

    def arm(self, condition: Condition, arm: str, seed: int) -> Picks:
        """Search under the arm's price and derive within the budget."""
        # A search without a price knows no budget: one serves all.
        share = "" if arm == "none" else f" {condition.share:.3f}"
        name = f"{condition.relaxation} {arm}{share} {seed}"
        probabilities = self._kept(f"search {name}", lambda: self._searched(condition, arm, seed, name))
        budget = self.budget(condition.share)
        if arm not in UNITS:
            return derive_picks(probabilities, self.model, budget)
        prices = self.static(arm)
        _, picks = largest_limit(
            lambda limit: best_path(self.arcs, self.kinds, probabilities, prices, limit),
            self.ms_of, cheapest(self.arcs, prices), dearest(self.arcs, prices), budget.ms,
        )  # fmt: skip
        return picks

    def random(self, share: float, count: int, band: float) -> tuple[list[Picks], int]:
        """Random networks predicted between `band * budget` and the budget, and how many draws that took."""
        rng = np.random.default_rng([7, count])
        ms = self.budget(share).ms
        return draw_between(
            lambda: self.space.random_picks(self.config, rng), self.ms_of, band * ms, ms, count
        )  # fmt: skip

    def trained(self, picks: Picks, seed: int) -> Network:
        """The trained network; a finished training is only loaded."""
        settings = self.setting.train.model_copy(update={"seed": seed})
        network = derived(self.space, self.config, picks, seed)
        place = self.folder / "trainings" / f"{self.genotype_id(picks)}-{seed}"
        return short_training(network, settings, self.bench, folder=place)

    def score(self, picks: Picks, seed: int) -> float:
        """Mean dB of the network trained with this seed."""
        name = f"db {self.genotype_id(picks)} {seed}"
        return float(self._kept(name, lambda: score(self.bench, self.trained(picks, seed))))

    def measured(self, networks: Sequence[tuple[Picks, int]]) -> list[float]:
        """Measured ms of networks with trained weights (picks, seed), all timed in turns; equal ones once."""
        names = [f"{self.genotype_id(picks)}-{seed}" for picks, seed in networks]

        def run() -> dict[str, float]:
            subjects = []
            for name, (picks, seed) in dict(zip(names, networks, strict=True)).items():
                network = self.trained(picks, seed)
                graph = export_onnx(network, network.multiple, network.scale)
                subjects.append(Subject(name, graph, (self.setting.side, self.setting.side)))
            timings, _ = time_graphs(subjects, self.setting.target, TIMING)
            return {name: timing.ratio * self.model.table.anchor_ms for name, timing in timings.items()}

        found = self._kept(f"ms {content_hash(sorted(set(names)))}", run)
        return [found[name] for name in names]

    def _table(self) -> LatencyModel:
        space = get_space(self.setting.method.space)
        config = space.parse_config({**space.task_config(1), **self.setting.space_config})
        path, target = self.folder / "table.json", self.setting.target
        if not path.is_file():
            sizes = [(self.setting.side, self.setting.side)]
            measure_table(space, config, target, sizes, path, rules=RULES.within(2.0), code_version=code_version())
        table = LatencyTable.load(path)
        table.require(target, space, config, device_name(target), engine_version(target))
        return LatencyModel(table)

    def _searched(self, condition: Condition, arm: str, seed: int, name: str) -> Probabilities:
        method = self.setting.method
        preset = method.preset("default", self.bench.task).search
        settings = SearchConfig.model_validate({**preset.model_dump(), **self.setting.search, "seed": seed})
        relaxations = method.relaxation_of(dict.fromkeys(method.relaxations, condition.relaxation))

        def complexity(supernet: Supernet) -> Complexity:
            return self._complexity(self.budget(condition.share), arm, settings, supernet)

        place = self.folder / "searches" / name.replace(" ", "-")
        _, result = short_search(
            self.space, self.config, relaxations, settings, self.bench, complexity=complexity, folder=place
        )
        return result.probabilities

    def _complexity(self, budget: Budget, arm: str, settings: SearchConfig, supernet: Supernet) -> Complexity:
        if arm == "none":
            return NoComplexity()
        prices = self.static(arm) if arm in UNITS else self.ms_prices
        # The product's rule: as far between cheapest and dearest in this unit as the budget is in milliseconds.
        share = (budget.ms - self.fastest) / (self.slowest - self.fastest)
        low, high = cheapest(self.arcs, prices), dearest(self.arcs, prices)
        expected = Expectation(prices, self.model.terms, self.space.candidates(self.config))
        target = low + share * (high - low)
        return BudgetPrice(expected, supernet.choices, target, settings.price_rate, settings.price_max)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, from the journal if it is there: one JSON line per finished piece."""
        path = self.folder / "journal.jsonl"
        text = path.read_text() if path.is_file() else ""
        known = {record["name"]: record["value"] for record in map(json.loads, text.splitlines())}
        if name not in known:
            start = time.process_time()
            value = make()
            seconds = round(time.process_time() - start, 1)
            write_text(path, text + json.dumps({"name": name, "value": value, "cpu_s": seconds}) + "\n")
            return value
        return known[name]


def photographs_at_sigma() -> Bench:
    """Colour denoising; the pairs are the held-out photographs, whole, all at one noise level."""
    bench = load_bench("denoise")
    pairs = tuple(validation_pair(bench.task, sample, SIGMA) for sample in embedded_photographs().valid)
    return replace(bench, pairs=pairs)
