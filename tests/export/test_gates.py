"""Parity holds for sound networks, and every planted fault is caught."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn

from export import Gate, GateError, Parity, compare, export_onnx, require_parity, run_whole
from export.gates import images_hash, whole
from models import Network, restore_whole, spaces
from runtime import Engine, Target, open_engine
from tasks import Quality, ValidationPair, get_task
from tests.export.subjects import random_network, swapped_channels

MakeNetwork = Callable[..., Network]
OpenNetwork = Callable[[Network], Engine]
MakePairs = Callable[..., list[ValidationPair]]
Judge = Callable[[bytes], tuple[str, str]]

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
    "one infinity": set_one(float("inf")),  # clipped it would be white
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


@pytest.mark.parametrize("sound", [parity(1.0), parity(0.5, lost=0.0999), parity(lost=-1.0)])
def test_int8_is_bounded_in_db_alone(sound: Parity) -> None:
    require_parity(sound, "a step", "int8")


@pytest.mark.parametrize("broken", [parity(lost=0.1001), parity(float("inf")), parity(lost=float("nan"))])
def test_what_loses_too_much_in_int8_is_refused(broken: Parity) -> None:
    with pytest.raises(GateError, match=r"(?s)largest difference  \S+\n.*allowed loss 0\.1 dB"):
        require_parity(broken, "a step", "int8")


def changed(model: onnx.ModelProto, name: str, change: Callable[[NDArray[np.float32]], None]) -> None:
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(name))
    values = numpy_helper.to_array(weight).copy()
    change(values)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))


def wrong_weight(model: onnx.ModelProto) -> None:
    changed(model, "head.weight", lambda values: values.__setitem__((0, 0), 20.0))


def not_a_number(model: onnx.ModelProto) -> None:
    changed(model, "tail.weight", lambda values: values.__setitem__((0, 0), np.nan))


def other_shuffle(model: onnx.ModelProto) -> None:
    """The other order in which channels become pixels."""
    shuffles = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
    assert shuffles
    for node in shuffles:
        (mode,) = (attribute for attribute in node.attribute if attribute.name == "mode")
        assert mode.s == b"CRD"
        mode.s = b"DCR"


def broken_resize(model: onnx.ModelProto) -> None:
    """Another mode of interpolation: what a backend does that does not know the right one."""
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    assert resizes
    for node in resizes:
        kept = [a for a in node.attribute if a.name not in ("mode", "nearest_mode", "coordinate_transformation_mode")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("mode", "linear")])


GRAPH_FAULTS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "wrong weight": wrong_weight,
    "swapped channels": swapped_channels,
    "another shuffle": other_shuffle,
    "not a number": not_a_number,
}


def verdict_on(network: Network, task: str, scale: int, pairs: list[ValidationPair], precision: str) -> Judge:
    """A function from a graph's bytes to the status and the reason that the gate gives it."""
    gate = Gate("torch", lambda image: restore_whole(network, image), get_task(task, scale), pairs)

    def judge(content: bytes) -> tuple[str, str]:
        engine = open_engine(content, Target("cpu", "onnxruntime", "fp32", 1))
        record = gate.record("a step", precision, gate.check(whole(engine, network.multiple, scale)))
        return record.status, record.why

    return judge


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("fault", GRAPH_FAULTS)
def test_each_gate_refuses_a_broken_graph_and_passes_the_sound_one(
    make_network: MakeNetwork, make_pairs: MakePairs, precision: str, fault: str
) -> None:
    network = make_network(2, convolutions=("conv3x3",), widths=(1.0,))
    judge = verdict_on(network, "super-resolution", 2, make_pairs("super-resolution", 2), precision)
    graph = export_onnx(network, network.multiple, 2, "fp16" if precision == "fp16" else "fp32")
    assert judge(graph) == ("ok", "")
    model = onnx.load_from_string(graph)
    GRAPH_FAULTS[fault](model)
    found, why = judge(model.SerializeToString())
    assert found == ("dropped" if precision == "int8" else "failed")
    assert "not finite" in why if fault == "not a number" else "dB are lost" in why or "a pixel is off" in why


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_broken_resize_mode_is_refused(make_pairs: MakePairs, precision: str) -> None:
    network = random_network("clearer", spaces()["clearer"].examples[0])
    judge = verdict_on(network, "denoise", 1, make_pairs(), precision)
    graph = export_onnx(network, network.multiple, 1, precision)
    assert judge(graph) == ("ok", "")
    model = onnx.load_from_string(graph)
    broken_resize(model)
    found, why = judge(model.SerializeToString())
    assert found == "failed"
    assert "dB are lost" in why or "a pixel is off" in why


def test_a_record_holds_what_was_found_and_no_infinities(
    make_network: MakeNetwork, open_network: OpenNetwork, make_pairs: MakePairs
) -> None:
    network, pairs = make_network(1), make_pairs()
    gate = Gate("torch", lambda image: restore_whole(network, image), get_task("denoise"), pairs)
    engine = open_network(network)
    sound = gate.check(whole(engine, network.multiple, 1))
    record = gate.record("export", "fp32", sound, file="model.onnx", source="0" * 16)
    assert (record.status, record.reference, record.images) == ("ok", "torch", len(pairs))
    assert (record.file, record.source) == ("model.onnx", "0" * 16)
    assert record.max_difference == sound.max_difference
    assert record.reference_db is not None
    assert record.reference_db > 60
    broken = gate.check(whole(Faulty(engine, FAULTS["one infinity"]), network.multiple, 1))
    record = gate.record("export", "fp32", broken)
    assert (record.status, record.max_difference, record.db_lost) == ("failed", None, None)
    assert record.why == "its output has values that are not finite"


def test_the_reference_is_asked_once(make_pairs: MakePairs) -> None:
    asked: list[int] = []

    def reference(image: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(1)
        return np.clip(image, 0.0, 1.0)

    gate = Gate("onnx-fp32", reference, get_task("denoise"), make_pairs())
    for _ in range(3):
        assert gate.check(reference).max_difference == 0
    assert len(asked) == len(make_pairs()) + 3 * len(make_pairs())


def test_the_hash_of_images_sees_values_shapes_and_order() -> None:
    one, two = np.zeros((3, 4, 6), np.float32), np.ones((3, 4, 6), np.float32)
    hashes = {images_hash(images) for images in ([one], [two], [one, two], [two, one], [one.reshape(3, 6, 4)], [])}
    assert len(hashes) == 6
    assert images_hash([one]) == images_hash([one.copy()])
