from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.errors import BundleError, EngineError, TargetError
from runtime.host import usable_cores
from runtime.picture import Picture
from runtime.target import Target
from serving.models.discovery import survey
from serving.models.loaded import LoadedModel, check_target, open_model
from serving.settings import Settings
from tests.servers import write_known_bundle
from tests.serving.models.conftest import gain_of

ONNX, INT8, OPENVINO = "cpu-onnxruntime-fp32", "cpu-onnxruntime-int8", "cpu-openvino-fp32"


def opened(root: Path, name: str = "x", **settings: Any) -> LoadedModel:
    chosen = Settings(bundles=(root,), **settings)
    return open_model(survey(chosen).found[name], chosen)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    write_known_bundle(tmp_path / "x", "x", "denoise", gain=0.5, tile=32)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "threads"),
    [
        pytest.param({}, usable_cores(), id="one slot has all cores"),
        pytest.param({"threads": 3}, 3, id="MILLISIGHT_THREADS"),
        pytest.param({"slots": 2}, max(1, usable_cores() // 2), id="slots share"),
        pytest.param({"workers": 64}, 1, id="workers share"),
        pytest.param({"target": ONNX, "threads": 3}, 3, id="a named target without threads"),
        pytest.param({"target": f"{ONNX}-5t", "threads": 3, "slots": 2}, 5, id="a named target with threads wins"),
    ],
)
def test_a_slot_has_its_share_of_the_threads(one: Path, settings: dict[str, Any], threads: int) -> None:
    model = opened(one, **settings)
    assert {restorer.target for restorer in model.restorers} == {Target("cpu", "onnxruntime", "fp32", threads)}
    assert len(model.restorers) == settings.get("slots", 1)
    assert model.costs.cores == threads


@pytest.mark.parametrize("target", [ONNX, OPENVINO])
def test_every_slot_has_an_engine_of_its_own_and_all_give_the_same(one: Path, target: str) -> None:
    if Target.parse(target).missing() is not None:
        pytest.skip(f"{target} is not here")
    model = opened(one, slots=2, target=f"{target}-1t")
    model.warm_up()
    assert model.restorers[0] is not model.restorers[1]
    assert [gain_of(model, slot) for slot in range(2)] == [0.5, 0.5]
    with pytest.raises(IndexError):
        gain_of(model, 2)


def test_no_slot_compiles_anything_after_its_warm_up(one: Path) -> None:
    if Target.parse(OPENVINO).missing() is not None:
        pytest.skip(f"{OPENVINO} is not here")
    model = opened(one, slots=2, target=f"{OPENVINO}-1t")
    compiled = [(restorer._engine._first, restorer._engine._others) for restorer in model.restorers]
    assert compiled == [(None, None)] * 2
    model.warm_up()
    for restorer in model.restorers:
        assert restorer._engine._first[0] == (1, 3, 32, 32)
        assert restorer._engine._others is not None


def test_it_restores_pictures_tile_by_tile(one: Path) -> None:
    model = opened(one)
    pixels = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    work = model.begin(Picture(pixels=pixels))
    assert len(work.tiles) > 1
    for index in range(len(work.tiles)):
        work.put(index, model.run(0, work.cut(index))[0])
    assert np.abs(work.result().pixels.astype(int) - pixels / 2).max() <= 0.51


def test_the_warm_up_times_this_machine(one: Path) -> None:
    model = opened(one)
    assert model.expected_ms == pytest.approx(1.024)  # a slow processor's time for a pixel: nobody has timed anything
    model.warm_up()
    assert model.expected_ms != pytest.approx(1.024)
    assert model.facts.here_ms == pytest.approx(model.expected_ms / 32**2 * 1e6)
    # A busy machine makes it slower, and does not change what the model is.
    for _ in range(50):
        model.costs.observe(model.tile, 1, 1.0)
    assert model.expected_ms > 2 * model.facts.here_ms * 32**2 / 1e6


def network(*nodes: Any, constants: tuple[Any, ...] = ()) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "odd",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "c", "sh", "sw"])],
        [numpy_helper.from_array(value, name) for name, value in constants],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(content.SerializeToString())


def not_a_number() -> bytes:
    """Finite for zeros alone: a warm-up on zeros would let it pass."""
    huge = np.float32(1e38)
    squared = helper.make_node("Mul", ["image", "huge"], ["large"])
    return network(squared, helper.make_node("Mul", ["large", "huge"], ["out"]), constants=(("huge", huge),))


def half_size() -> bytes:
    return network(helper.make_node("AveragePool", ["image"], ["out"], kernel_shape=[2, 2], strides=[2, 2]))


@pytest.mark.parametrize(("graph", "told"), [(not_a_number(), "not numbers"), (half_size(), r"\(1, 3, 16, 16\)")])
def test_the_warm_up_refuses_what_gives_no_picture(tmp_path: Path, graph: bytes, told: str) -> None:
    write_known_bundle(tmp_path / "x", "x", "denoise", tile=32, model=graph)
    model = opened(tmp_path)
    with pytest.raises(EngineError, match=told):
        model.warm_up()


def test_zeros_do_pass_through_the_network_that_overflows(tmp_path: Path) -> None:
    write_known_bundle(tmp_path / "x", "x", "denoise", tile=32, model=not_a_number())
    assert np.isfinite(opened(tmp_path).run(0, np.zeros((1, 3, 32, 32), dtype=np.float32))).all()


def test_bytes_that_changed_since_they_were_verified_are_not_opened(one: Path) -> None:
    settings = Settings(bundles=(one,))
    found = survey(settings).found["x"]
    write_known_bundle(one / "x", "x", "denoise", gain=0.75, tile=32)
    with pytest.raises(BundleError, match="damaged"):
        open_model(found, settings)


def test_a_target_that_is_named_is_never_replaced(one: Path) -> None:
    with pytest.raises(TargetError, match="cpu-onnxruntime-fp32"):
        check_target(Settings(target="cuda-openvino-fp32"))
    with pytest.raises(BundleError, match="no int8 file"):
        opened(one, target=INT8)


def test_what_it_says_of_itself(one: Path) -> None:
    model = opened(one)
    assert (model.name, model.task, model.scale, model.backend) == ("x", "denoise", 1, "onnxruntime")
    assert (model.family, model.db, model.tile) == ("0" * 64, None, (32, 32))
    assert model.digest == model.bundle.digest
    assert model.load_seconds > 0
