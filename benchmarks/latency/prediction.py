"""Predicted against measured milliseconds of networks that no calibration has seen, at sizes that no table holds.

Beside the table's model stand three simpler ways to predict, timed in the same run and given every advantage: they are
fitted at the very size that they predict, on other networks of the same test (twofold, so that all networks count).
"""

import io
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.results import Row
from models import OpKey, count_macs, fold_module, num_parameters
from models.operations import OPERATIONS, make_operation
from runtime import StabilityRule, Target, open_engine, time_interleaved
from search.latency.accuracy import Accuracy, accuracy
from search.latency.calibration import Picks
from search.latency.linked import Yardstick
from search.latency.measure import Workload
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject, anchor, time_graphs

NETWORKS = 30
SEED = 20_260
"""Of the test networks; tables are measured with other seeds."""
RULE = StabilityRule(min_runs=16, max_runs=32, tolerance=0.006, max_seconds=6.0)
SINGLE = StabilityRule(min_runs=8, max_runs=16, tolerance=0.015, max_seconds=1.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Test networks at one size: what they took, and what each way to predict says.

    Attributes:
        size: (height, width).
        measured: Milliseconds in the table's terms: the networks that it was calibrated with ran in the same turns, and
            everything is scaled so that on average they take what the table says they do.
        noise: Median standard error of the timings, relative.
        sitting: That scale: how much slower, against the anchor, large networks were than when the table was measured.
        predicted: Way to predict -> milliseconds.
    """

    size: tuple[int, int]
    measured: list[float]
    noise: float
    sitting: float
    predicted: dict[str, list[float]]

    def accuracies(self) -> dict[str, Accuracy]:
        """How far each way to predict is off."""
        return {name: accuracy(values, self.measured) for name, values in self.predicted.items()}


def unseen_networks(model: LatencyModel) -> list[Picks]:
    """Random networks that are not among those that the table was made with."""
    known = {model.space.genotype(model.config, picks).id for picks in model.table.networks.values()}
    rng = np.random.default_rng(SEED)
    found: dict[str, Picks] = {}
    while len(found) < NETWORKS:
        picks = model.space.random_picks(model.config, rng)
        genotype = model.space.genotype(model.config, picks).id
        if genotype not in known:
            found[genotype] = picks
    return list(found.values())


def try_prediction(model: LatencyModel, target: Target, size: tuple[int, int], title: str) -> Trial:
    """Time the test networks in turns at one size, and predict them in every way."""
    picks = unseen_networks(model)
    work = Workload(model.space, model.config, target)
    subjects = work.networks({str(n): entry for n, entry in enumerate(picks)}, size)
    known = all_known(model, work, size)
    with tqdm(desc=title, unit="round") as bar:
        timings, _ = time_graphs(
            [*subjects, *(y.subject for y in known)], target, RULE, seed=SEED, on_round=lambda *_: bar.update() and None
        )
    sitting = math.exp(np.mean([math.log(timings[y.subject.id].ratio / y.ratio) for y in known]))
    measured = [timings[subject.id].ratio / sitting * model.table.anchor_ms for subject in subjects]
    networks = [model.space.build(model.space.genotype(model.config, entry)) for entry in picks]
    with torch.device("meta"):
        macs = [count_macs(model.space.build(model.space.genotype(model.config, entry)), *size) for entry in picks]
    predicted = {
        "table": [model.predict(entry, *size).ms for entry in picks],
        "FLOPs, factor": _twofold(macs, measured, _factor),
        "parameters, factor": _twofold([num_parameters(network) for network in networks], measured, _factor),
    }
    sums = single_operation_sums(model, target, size, picks)
    if sums is not None:
        predicted["single operations, summed"] = sums
        predicted["single operations, line"] = _twofold(sums, measured, _line)
    return Trial(size, measured, float(np.median([t.error for t in timings.values()])), sitting - 1.0, predicted)


def all_known(model: LatencyModel, work: Workload, size: tuple[int, int]) -> list[Yardstick]:
    """Every calibration network, at the measured size nearest to this one: what the table calls a millisecond."""
    pixels = size[0] * size[1]
    table = min(model.table.sizes, key=lambda part: abs(math.log(part.height * part.width / pixels)))
    place = (table.height, table.width)
    return [
        Yardstick(
            Subject(f"known/{entry.id}", work.network(model.table.networks[entry.id]), place),
            entry.ms / model.table.anchor_ms,
        )
        for entry in table.calibration.networks
    ]


def single_operation_sums(
    model: LatencyModel, target: Target, size: tuple[int, int], picks: Sequence[Picks]
) -> list[float] | None:
    """The plain sum of each operation's time in a graph of its own; None where operations span several scales."""
    keys = sorted({term.key for term in model.terms})
    if any(OPERATIONS[key.operation].branches > 1 for key in keys):
        return None
    timers: dict[str, Callable[[], float]] = {}
    for key in keys:
        shape = (1, key.in_channels, size[0] // key.divisor, size[1] // key.divisor)
        image = np.random.default_rng(0).random(shape, dtype=np.float32)
        timers[str(key)] = open_engine(_single(key), target).timer(image)
    steady = anchor(target)
    image = np.random.default_rng(0).random((1, 3, *steady.size), dtype=np.float32)
    timings, _ = time_interleaved(timers, open_engine(steady.graph, target).timer(image), SINGLE, seed=SEED)
    ms = {key: timings[str(key)].ratio * model.table.anchor_ms for key in keys}
    return [sum(ms[term.key] for term in model.terms if term.holds(entry)) for entry in picks]


def _single(key: OpKey) -> bytes:
    operation = fold_module(make_operation(key.operation, key.in_channels, key.out_channels))
    buffer = io.BytesIO()
    axes = {0: "N", 2: "H", 3: "W"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            operation, (torch.zeros(1, key.in_channels, 32, 32),), buffer, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": axes, "y": {0: "N", 2: "h", 3: "w"}}, opset_version=18, dynamo=False,
        )  # fmt: skip
    return buffer.getvalue()


def _twofold(
    x: Sequence[float], y: Sequence[float], fit: Callable[[Floats, Floats], Callable[[Floats], Floats]]
) -> Any:
    """Every second network predicted by what the others say."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    half = np.arange(len(xs)) % 2 == 0
    predicted = np.where(half, fit(xs[~half], ys[~half])(xs), fit(xs[half], ys[half])(xs))
    return [float(value) for value in predicted]


def _factor(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    ratio = x / y
    factor = ratio.sum() / (ratio**2).sum()
    return lambda new: factor * new


def _line(x: Floats, y: Floats) -> Callable[[Floats], Floats]:
    (a, b), *_ = np.linalg.lstsq(np.stack([np.ones(len(x)), x], 1) / y[:, None], np.ones(len(y)))
    return lambda new: np.maximum(a + b * new, 1e-9)


def rows(space: str, tested: Trial) -> list[Row]:
    """The form in which results are kept."""
    return [
        {
            "space": space,
            "size": f"{tested.size[1]}x{tested.size[0]}",
            "predicted by": name,
            "networks": len(tested.measured),
            "fastest ms": min(tested.measured),
            "slowest ms": max(tested.measured),
            "noise %": 100 * tested.noise,
            "sitting %": 100 * tested.sitting,
            "MAPE %": 100 * found.mape,
            "worst %": 100 * found.worst,
            "bias %": 100 * found.bias,
            "tau": found.tau,
        }
        for name, found in tested.accuracies().items()
    ]
