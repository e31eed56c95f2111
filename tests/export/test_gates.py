"""Parity holds for sound networks, and every planted fault is caught."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from export import GateError, Parity, compare, export_onnx, require_parity, run_whole
from models import Network
from runtime import Engine, Target, open_engine
from tasks import Quality, ValidationPair, get_task

MakeNetwork = Callable[..., Network]
OpenNetwork = Callable[[Network], Engine]
MakePairs = Callable[..., list[ValidationPair]]

CASES = [("denoise", 1), ("derain", 1), ("super-resolution", 2), ("super-resolution", 4)]


@pytest.mark.parametrize(("task", "scale"), CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_random_networks_pass_at_odd_sizes(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs, task: str, scale: int, seed: int
) -> None:
    network = make_network(scale, seed, attentions=("identity", "squeeze_excitation"))
    pairs = make_pairs(task, scale, sides=(33, 50))
    assert any(side % network.multiple for pair in pairs for side in pair.degraded.shape[1:])
    parity = compare(network, open_network(network), get_task(task, scale if scale > 1 else None), pairs)
    require_parity(parity, "the ONNX export")
    assert parity.max_difference < 1e-4
    assert parity.mean_difference <= parity.max_difference
    assert parity.before.images == parity.after.images == 2
    assert parity.before.degraded_db == parity.after.degraded_db


class Faulty:
    """An engine whose output or weights are wrong in one way."""

    def __init__(self, engine: Engine, fault: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self._engine, self._fault = engine, fault

    @property
    def target(self) -> Target:
        return self._engine.target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._fault(self._engine.run(batch))


def test_a_nan_is_an_infinite_difference(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs
) -> None:
    """A plain maximum would pass over it."""
    network = make_network(1)
    found = compare(network, Faulty(open_network(network), set_one(float("nan"))), get_task("denoise"), make_pairs())
    assert found.max_difference == float("inf")


def set_one(value: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def fault(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        broken = batch.copy()
        broken[0, 1, 5, 7] = value
        return broken

    return fault


FAULTS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "swapped channels": lambda batch: batch[:, ::-1].copy(),
    "one NaN": set_one(float("nan")),
    "one wrong pixel": set_one(0.5),
    "mirrored": lambda batch: batch[:, :, :, ::-1].copy(),
    "shifted by a pixel": lambda batch: np.roll(batch, 1, axis=3),
    "half precision of a bad kind": lambda batch: (np.round(batch * 64) / 64).astype(np.float32),
    "brighter by two grey levels": lambda batch: (batch + 2 / 255).astype(np.float32),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_engine_is_refused(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs, fault: str
) -> None:
    network = make_network(2)
    engine = Faulty(open_network(network), FAULTS[fault])
    parity = compare(network, engine, get_task("super-resolution", 2), make_pairs("super-resolution", 2))
    with pytest.raises(GateError, match=r"(?s)does not compute.*largest difference.*dB before -> after"):
        require_parity(parity, "the ONNX export")


@contextmanager
def one_changed(parameter: torch.Tensor) -> Iterator[None]:
    """Inside, the first entry is larger by one."""
    first = parameter.detach().view(-1)[0]
    kept = first.clone()
    first.add_(1.0)
    yield
    first.copy_(kept)


@pytest.mark.parametrize("name", ["head.weight", "tail.weight", "tail.bias", "bottleneck.0.conv1.weight"])
def test_a_wrong_weight_in_the_file_is_refused(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs, name: str
) -> None:
    network = make_network(1, damped=1.0, convolutions=("conv3x3",))
    parameter = network.get_parameter(name)
    with one_changed(parameter):
        wrong = open_network(network)
    with pytest.raises(GateError, match="does not compute what the trained network computes"):
        require_parity(compare(network, wrong, get_task("denoise"), make_pairs()), "the ONNX export")
    right = compare(network, open_network(network), get_task("denoise"), make_pairs())
    require_parity(right, "the ONNX export")


def test_another_enlargement_is_refused(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs
) -> None:
    """What a backend with its own idea of bicubic, or one that falls back to nearest, would do."""
    network, nearest = make_network(2), make_network(2)
    nearest.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
    parity = compare(network, open_network(nearest), get_task("super-resolution", 2), make_pairs("super-resolution", 2))
    assert parity.db_lost != 0
    with pytest.raises(GateError):
        require_parity(parity, "the ONNX export")


def test_an_output_of_another_size_is_refused(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs
) -> None:
    network = make_network(2)
    engine = Faulty(open_network(network), lambda batch: batch[:, :, ::2, ::2].copy())
    with pytest.raises(GateError, match=r"turns \(3, 40, 40\) into \(1, 3, 40, 40\), not into \(1, 3, 80, 80\)"):
        compare(network, engine, get_task("super-resolution", 2), make_pairs("super-resolution", 2, sides=(40,)))


def parity(difference: float = 0.0, lost: float = 0.0) -> Parity:
    return Parity(difference, difference / 2, Quality(20.0, 30.0, 1), Quality(20.0, 30.0 - lost, 1))


@pytest.mark.parametrize("sound", [parity(), parity(1 / 255), parity(lost=0.0009), parity(lost=-1.0)])
def test_what_is_within_the_bounds_passes(sound: Parity) -> None:
    require_parity(sound, "a step")


@pytest.mark.parametrize(
    "broken",
    [
        parity(1.01 / 255),
        parity(float("inf")),
        parity(float("nan")),
        parity(lost=0.0011),
        parity(lost=float("nan")),
        parity(lost=float("inf")),
    ],
)
def test_what_is_out_of_bounds_or_no_number_does_not(broken: Parity) -> None:
    with pytest.raises(GateError, match="the bundle was not written"):
        require_parity(broken, "a step")


@pytest.mark.parametrize("sound", [parity(), parity(2 / 255), parity(lost=0.0199), parity(lost=-1.0)])
def test_fp16_has_bounds_of_its_own(sound: Parity) -> None:
    require_parity(sound, "a step", "fp16")


@pytest.mark.parametrize(
    "broken", [parity(2.01 / 255), parity(lost=0.0201), parity(float("nan")), parity(lost=float("nan"))]
)
def test_what_is_out_of_those_is_refused_in_fp16_too(broken: Parity) -> None:
    with pytest.raises(GateError, match=r"(?s)allowed 0\.007843.*allowed loss 0\.02 dB"):
        require_parity(broken, "a step", "fp16")


@pytest.mark.parametrize(("task", "scale"), CASES)
def test_networks_in_fp16_pass_in_fp16(make_network: MakeNetwork, make_pairs: MakePairs, task: str, scale: int) -> None:
    network = make_network(scale)
    onnx = export_onnx(network, network.multiple, network.scale, "fp16")
    engine = open_engine(onnx, Target("cpu", "onnxruntime", "fp32", 1))
    found = compare(network, engine, get_task(task, scale if scale > 1 else None), make_pairs(task, scale))
    assert found.max_difference > 0
    require_parity(found, "the ONNX export", "fp16")
    # The planted fault: what is broken is not excused by its precision.
    broken = compare(
        network, Faulty(engine, FAULTS["shifted by a pixel"]), get_task(task, scale if scale > 1 else None),
        make_pairs(task, scale),
    )  # fmt: skip
    with pytest.raises(GateError, match=r"allowed loss 0\.02 dB"):
        require_parity(broken, "the ONNX export", "fp16")


def test_run_whole_pads_by_the_edge_and_clips(make_network: MakeNetwork, open_network: OpenNetwork) -> None:
    network = make_network(1, damped=1.0)
    engine = open_network(network)
    image = np.random.default_rng(0).random((3, 9, 14), dtype=np.float32)
    restored = run_whole(engine, image, network.multiple, 1)
    assert restored.shape == image.shape
    assert restored.min() == 0.0  # an untrained network goes beyond, so clipping shows
    assert restored.max() == 1.0
    padded = np.pad(image, ((0, 0), (0, 3), (0, 2)), mode="edge")
    assert np.array_equal(run_whole(engine, padded, network.multiple, 1)[:, :9, :14], restored)
