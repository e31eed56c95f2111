"""Networks timed in the engine, and what a timing after training means."""

from collections.abc import Callable

import pytest

from export import GateError, export_onnx
from models import Network, OpKey
from runtime import StabilityRule, Target
from search import Budget
from search.latency.measure import Workload
from search.latency.model import LatencyModel
from search.latency.stopwatch import Subject
from search.latency.table import LatencyTable, Measured
from search.verify import (
    Slowdown,
    confirm_budget,
    export_and_measure,
    known_networks,
    measure_network,
    slowdown,
)

MakeModel = Callable[..., LatencyModel]


def measured(ms: float) -> Measured:
    return Measured(
        id="derived", graph="0" * 16, session=0, ms=ms, error=0.0, raw_ms=ms, spread=0.0, runs=8, stable=True
    )


def rows(key: OpKey) -> float:
    return {"conv5x5": 4.0, "conv3x3": 2.0, "separable3x3": 1.0}.get(key.operation, 0.5)


@pytest.fixture
def model(make_model: MakeModel) -> LatencyModel:
    values = {"channels": (16,), "blocks": 3, "convolutions": ("conv5x5", "conv3x3", "separable3x3"), "widths": (1.0,)}
    return make_model(values, row_ms=rows)


def test_networks_are_built_and_measured_in_the_engine(make_model: MakeModel) -> None:
    model = make_model({"channels": (8,), "blocks": 1, "convolutions": ("conv3x3", "conv5x5")})
    built: list[dict[str, str]] = []

    def build(picks: dict[str, str]) -> Network:
        built.append(picks)
        return model.space.build(model.space.genotype(model.config, picks))

    target = Target("cpu", "onnxruntime", "fp32", 1)
    quick = StabilityRule(warmup=0, min_runs=3, max_runs=3, max_seconds=0.05)
    measure = export_and_measure(
        build, lambda n: export_onnx(n, n.multiple, n.scale), model, target, Budget(1.0, 16, 16), quick
    )
    picks = model.space.reference_picks(model.config)
    first, other = measure(picks), measure({**picks, "bottleneck0.0.conv1": "conv5x5"})
    assert first.ms > 0
    assert first.raw_ms > 0
    assert built[0] == picks
    assert first.graph != other.graph


def test_a_trained_file_within_the_budget_is_stated_as_measured() -> None:
    def unasked() -> Slowdown:
        raise AssertionError("one timing was enough")

    assert confirm_budget(measured(19.0), measured(18.0), Budget(20.0, 32, 32), unasked).ms == 19.0


def test_a_busy_machine_is_told_from_slow_weights() -> None:
    budget = Budget(20.0, 32, 32)
    for same in (Slowdown(1.015, 0.001), Slowdown(1.05, 0.02), Slowdown(0.9, 0.0)):
        assert confirm_budget(measured(25.0), measured(18.0), budget, lambda same=same: same).ms == 18.0
    with pytest.raises(GateError, match=r"1\.40 times faster"):
        confirm_budget(measured(25.0), measured(18.0), budget, lambda: Slowdown(1.4, 0.02))
    with pytest.raises(GateError, match=r"1\.05 times faster"):
        confirm_budget(measured(25.0), measured(18.0), budget, lambda: Slowdown(1.05, 0.01))


def test_slowdown_sees_a_network_with_eight_times_the_blocks(model: LatencyModel) -> None:
    def graph(blocks: int) -> bytes:
        config = model.config.model_copy(update={"blocks": blocks})
        picks = {choice: names[0] for choice, names in model.space.candidates(config).items()}
        return export_onnx(model.space.build(model.space.genotype(config, picks)))

    rule = StabilityRule(min_runs=8, max_runs=16, max_seconds=2.0)
    target = Target("cpu", "onnxruntime", "fp32", 1)
    # Not a bound on a time: eight times the work in turns with the original, and all that is asked is that it shows.
    assert slowdown(graph(24), graph(3), target, Budget(1.0, 64, 64), rule).is_real


def known(table: LatencyTable, ms: float, graph: str) -> LatencyModel:
    """A model of the table in which the reference network was timed at so many milliseconds."""
    (size,) = table.sizes
    entry = measured(ms).model_copy(update={"id": "reference", "graph": graph})
    calibration = size.calibration.model_copy(update={"networks": (entry,)})
    space = LatencyModel(table).space
    reference = space.reference_picks(LatencyModel(table).config)
    return LatencyModel(
        table.model_copy(
            update={
                "sizes": (size.model_copy(update={"calibration": calibration}),),
                "networks": {"reference": reference},
            }
        )
    )


def test_what_the_table_knows_is_the_measure_of_what_it_does_not(make_table: Callable[..., LatencyTable]) -> None:
    """The network is one that the table says takes 5000 ms: whatever the machine does, it is said to take that."""
    table = make_table({"channels": (8,), "blocks": 1}, sizes=((16, 16),))
    target, budget = Target("cpu", "onnxruntime", "fp32", 1), Budget(1.0, 16, 16)
    blank = known(table, 5000.0, "")
    graph = Workload(blank.space, blank.config, target).network(blank.table.networks["reference"])
    quick = StabilityRule(warmup=2, min_runs=8, max_runs=16, max_seconds=1.0)
    same = known(table, 5000.0, Subject("", graph, (16, 16)).hash)
    assert [yardstick.ratio for yardstick in known_networks(same, target, budget)] == [5000.0]
    # No time is asserted: the same file, timed in turns with itself.
    assert 2500.0 < measure_network(graph, same, target, budget, "new", quick).ms < 10000.0
    # The planted fault: of another file nothing is known, and it is not taken for a measure.
    assert known_networks(blank, target, budget) == []
    assert measure_network(graph, blank, target, budget, "new", quick).ms < 2500.0
