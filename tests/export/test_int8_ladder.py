"""The ladder leaves out more and more, the worst first, and the fastest form that keeps its quality is taken."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from export import export_onnx
from export.int8_ladder import Int8Choice, Rung, choose_int8, rungs
from export.quantized_graph import node_name
from models import Network

MakeNetwork = Callable[..., Network]
Image = NDArray[np.float32]


@pytest.fixture(scope="module")
def network(make_network: MakeNetwork) -> Network:
    return make_network(1, convolutions=("conv3x3",), attentions=("identity",), damped=1.0)


@pytest.fixture(scope="module")
def model(network: Network) -> bytes:
    return export_onnx(network, network.multiple)


@pytest.fixture(scope="module")
def images() -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, 32, 32), dtype=np.float32) for _ in range(4)]


@pytest.fixture(scope="module")
def ladder(model: bytes, images: list[Image]) -> list[Rung]:
    return list(rungs(model, images))


def pairs(model: bytes) -> int:
    """More of them is less in float32."""
    return sum(node.op_type == "DequantizeLinear" for node in onnx.load_from_string(model).graph.node)


def test_each_rung_leaves_out_more_than_the_one_before(ladder: list[Rung]) -> None:
    assert 3 <= len(ladder) <= 9
    assert ladder[0].left_out == frozenset()
    for before, after in itertools.pairwise(ladder):
        assert before.left_out < after.left_out
        assert pairs(before.model) > pairs(after.model)
    assert len({rung.name for rung in ladder}) == len(ladder)


def test_a_rung_is_what_it_says(ladder: list[Rung]) -> None:
    for rung in ladder:
        for node in onnx.load_from_string(rung.model).graph.node:
            if node_name(node) in rung.left_out:
                assert not any(source.endswith("_dequantized") for source in node.input), node.name
    assert "in fp32: " in ladder[1].name


def test_the_order_is_the_same_each_time(model: bytes, images: list[Image], ladder: list[Rung]) -> None:
    for again, rung in zip(rungs(model, images), ladder[:3], strict=False):
        assert again == rung


def test_what_loses_most_is_left_out_first(make_network: MakeNetwork, images: list[Image]) -> None:
    """Planted: one convolution reads channels of very different size, which one scale cannot serve."""
    network = make_network(1, convolutions=("conv3x3",), attentions=("identity",), damped=1.0)
    first, second = (network.get_submodule(f"bottleneck.0.conv{place}") for place in (1, 2))
    assert isinstance(first, torch.nn.Conv2d)
    assert isinstance(second, torch.nn.Conv2d)
    assert first.bias is not None
    with torch.no_grad():  # the same network: what leaves one layer larger is made smaller by the next
        first.weight[0] *= 1000.0
        first.bias[0] *= 1000.0
        second.weight[:, 0] /= 1000.0
    _, worst, *_ = rungs(export_onnx(network, network.multiple), images)
    assert worst.left_out == {"/bottleneck/bottleneck.0/conv2/Conv"}


def choose(
    model: bytes, images: list[Image], lost: Callable[[int], float], seconds: Callable[[int], float]
) -> tuple[Int8Choice, list[int]]:
    """What is chosen when loss and time depend on the number of pairs only; and those numbers."""
    seen: list[int] = []

    def db_lost(candidate: bytes) -> float:
        seen.append(pairs(candidate))
        return lost(seen[-1])

    return choose_int8(model, images, db_lost, lambda candidate: seconds(pairs(candidate))), seen


def test_the_fastest_that_holds_the_aim_is_taken(model: bytes, images: list[Image], ladder: list[Rung]) -> None:
    most = [pairs(rung.model) for rung in ladder]
    choice, seen = choose(model, images, lambda n: 0.04 if n < most[0] else 0.2, lambda n: 1 / n)
    assert seen == most[: len(seen)]
    assert choice.model == ladder[1].model
    assert choice.rung == choice.tried[1].name == ladder[1].name
    assert [entry.db_lost for entry in choice.tried] == [0.2, *[0.04] * (len(seen) - 1)]
    # Two beyond the first good one are looked at, no more.
    assert len(seen) == min(4, len(ladder))
    # Times are measured and not believed: where less int8 is faster, that is taken.
    other, _ = choose(model, images, lambda n: 0.04 if n < most[0] else 0.2, float)
    assert other.rung == other.tried[-1].name


def test_of_two_as_fast_the_better_is_taken(model: bytes, images: list[Image]) -> None:
    choice, _ = choose(model, images, lambda n: n / 10_000, lambda n: 1.0 + n / 100_000)
    assert choice.rung == choice.tried[-1].name


def test_without_one_that_holds_the_aim_the_gate_counts(model: bytes, images: list[Image]) -> None:
    choice, seen = choose(model, images, lambda n: 0.08 if n < 1000 else 1.0, lambda n: 1 / n)
    assert choice.model is not None
    assert choice.rung == choice.tried[0].name
    assert len(seen) > 3  # it looked for a better one to the end


@pytest.mark.parametrize("loss", [0.11, math.nan, math.inf])
def test_what_loses_too_much_or_nobody_knows_is_dropped(model: bytes, images: list[Image], loss: float) -> None:
    choice, seen = choose(model, images, lambda _: loss, lambda n: 1 / n)
    assert choice.model is None
    assert choice.rung == ""
    assert len(choice.tried) == len(seen)
    assert choice.least_lost == (loss if math.isfinite(loss) else math.inf)
