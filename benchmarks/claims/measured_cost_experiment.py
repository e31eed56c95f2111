"""The pieces of `measured_cost`: table, arms, trainings, timings; each is kept on disk when it is done."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.claims.common import Bench, derived, load_bench, score, short_search, short_training
from benchmarks.claims.measured_cost_picks import Picks, draw_between, largest_limit
from export import export_onnx
from models import Network, content_hash, get_space
from runtime import StabilityRule, Target, describe_host
from search import Method
from search.budget import Budget
from search.complexity import BudgetPrice, Complexity, NoComplexity
from search.costs import Expectation, Prices, static_prices
from search.derive import best_path, cheapest, dearest, derive_picks, fastest_and_slowest
from search.files import write_json, write_text
from search.latency.clock import time_graphs
from search.latency.measure import RULE, measure_table
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable
from search.pipeline import AUTO_SHARE, code_version, round_up_digits
from search.settings import SearchConfig
from search.steering import UNITS
from tasks import embedded_photographs, validation_pair
from training import TrainConfig

SIGMA = "sigma25"
TIMING = StabilityRule(warmup=3, min_runs=20, max_runs=60, tolerance=0.02, max_seconds=4.0)


@dataclass(frozen=True)
class Setting:
    """Everything that fixes an experiment but the seeds.

    Attributes:
        method: Gives space, relaxation and default search settings.
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
        """As JSON."""
        return {
            "method": self.method.name,
            "space_config": dict(self.space_config),
            "target": self.target.slug,
            "side": self.side,
            "search": dict(self.search),
            "train": self.train.model_dump(mode="json"),
        }


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
        # As JSON gives it back: tuples are lists there.
        wanted = json.loads(json.dumps(setting.plain()))
        if self._kept("setting", lambda: wanted) != wanted:
            raise ValueError(f"{folder} holds the work of another setting; choose another folder, or delete it")
        self.bench = photographs_at_sigma()
        self.model = self._table()
        self.space, self.config = self.model.space, self.model.config
        self.arcs = self.space.trellis(self.config)
        self.kinds = {name: choice.kind for name, choice in self.space.choices(self.config).items()}
        self.ms_prices = self.model.prices(setting.side, setting.side)
        self.fastest, self.slowest = fastest_and_slowest(self.model, setting.side, setting.side)
        ms = round_up_digits(self.fastest + AUTO_SHARE * (self.slowest - self.fastest), 3)
        self.budget = Budget(ms, setting.side, setting.side)

    def ms_of(self, picks: Mapping[str, str]) -> float:
        """Predicted milliseconds."""
        return self.ms_prices.of(self.model.terms, picks)

    def genotype_id(self, picks: Picks) -> str:
        """Equal for equal networks."""
        return self.space.genotype(self.config, picks).id

    def arm(self, arm: str, seed: int) -> Picks:
        """Search with the arm's price and derive within the budget."""
        found: Picks = self._kept(f"picks {arm} {seed}", lambda: self._searched(arm, seed))
        return found

    def random(self, count: int, band: float) -> tuple[list[Picks], int]:
        """Random networks predicted between `band * budget` and the budget, and how many draws that took."""
        rng = np.random.default_rng([7, count])

        def draw() -> dict[str, Any]:
            budget = self.budget.ms
            picks, draws = draw_between(
                lambda: self.space.random_picks(self.config, rng), self.ms_of, band * budget, budget, count
            )
            return {"picks": picks, "draws": draws}

        found = self._kept("picks random", draw)
        return found["picks"], found["draws"]

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

    def measured(self, networks: Mapping[str, tuple[Picks, int]]) -> dict[str, float]:
        """Name -> measured ms of networks with trained weights (picks, seed), all timed in turns."""
        ids = {name: (self.genotype_id(picks), seed) for name, (picks, seed) in networks.items()}

        def run() -> dict[str, float]:
            # A network that several arms found is timed once.
            graphs = {}
            for name, (picks, seed) in networks.items():
                if "-".join(map(str, ids[name])) not in graphs:
                    network = self.trained(picks, seed)
                    graphs["-".join(map(str, ids[name]))] = export_onnx(network, network.multiple, network.scale)
            timings = time_graphs(graphs, self.setting.target, (self.setting.side, self.setting.side), TIMING)
            return {key: timing.ms for key, timing in timings.items()}

        found = self._kept(f"ms {content_hash(sorted(ids.values()))}", run)
        return {name: found["-".join(map(str, key))] for name, key in ids.items()}

    def static(self, arm: str) -> Prices:
        """The arm's counted metric at the budget's size."""
        return static_prices(self.space, self.config, UNITS[arm], self.setting.side, self.setting.side)

    def _table(self) -> LatencyModel:
        space = get_space(self.setting.method.space)
        config = space.parse_config({**space.task_config(1), **self.setting.space_config})
        path, target = self.folder / "table.json", self.setting.target
        if not path.is_file():
            sizes = [(self.setting.side, self.setting.side)]
            rule = replace(RULE, max_seconds=2.0)
            measure_table(space, config, target, sizes, path, rule=rule, code_version=code_version())
        table = LatencyTable.load(path)
        table.require(target, space, config, describe_host())
        return LatencyModel(table)

    def _searched(self, arm: str, seed: int) -> Picks:
        method = self.setting.method
        preset = method.preset("default", self.bench.task).search
        settings = SearchConfig.model_validate({**preset.model_dump(), **self.setting.search, "seed": seed})
        _, result = short_search(
            self.space, self.config, method.relaxation_of({}), settings, self.bench,
            complexity=self._complexity(arm, settings), folder=self.folder / "searches" / f"{arm}-{seed}",
        )  # fmt: skip
        write_json(self.folder / "searches" / f"{arm}-{seed}.json", result.probabilities)
        return self.derive(arm, result.probabilities)

    def derive(self, arm: str, probabilities: Mapping[str, Mapping[str, float]]) -> Picks:
        """The best network by these probabilities that is predicted to keep the budget, picked in the arm's metric."""
        if arm not in UNITS:
            return derive_picks(probabilities, self.model, self.budget)
        prices = self.static(arm)
        _, picks = largest_limit(
            lambda limit: best_path(self.arcs, self.kinds, probabilities, prices, limit),
            self.ms_of, cheapest(self.arcs, prices), dearest(self.arcs, prices), self.budget.ms,
        )  # fmt: skip
        return picks

    def _complexity(self, arm: str, settings: SearchConfig) -> Complexity:
        if arm == "none":
            return NoComplexity()
        prices = self.static(arm) if arm in UNITS else self.ms_prices
        # The product's rule: as far between cheapest and dearest in this unit as the budget is in milliseconds.
        share = (self.budget.ms - self.fastest) / (self.slowest - self.fastest)
        low, high = cheapest(self.arcs, prices), dearest(self.arcs, prices)
        expected = Expectation(prices, self.model.terms, self.space.candidates(self.config))
        return BudgetPrice(expected, low + share * (high - low), settings.price_rate, settings.price_max)

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, from the journal if it is there: one JSON line per finished piece."""
        path = self.folder / "journal.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        known = {record["name"]: record["value"] for record in map(json.loads, lines)}
        if name not in known:
            start = time.process_time()
            record = {"name": name, "value": make()}
            record["cpu_s"] = round(time.process_time() - start, 1)
            # Read anew: making it may have added lines of its own.
            before = path.read_text() if path.is_file() else ""
            write_text(path, before + json.dumps(record) + "\n")
            return record["value"]
        return known[name]


def photographs_at_sigma() -> Bench:
    """Colour denoising; the pairs are the held-out photographs, whole, all at one noise level."""
    bench = load_bench("denoise")
    pairs = tuple(validation_pair(bench.task, sample, SIGMA) for sample in embedded_photographs().valid)
    return replace(bench, pairs=pairs)
