"""What only a GPU can show. Not yet run on one."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from export import export_onnx
from export.ahead import AHEAD, Profile, build_ahead
from models import get_space
from runtime import Engine, Target, engine_version, open_engine, read_conditions
from runtime.clock import clock_for
from runtime.conditions import device_name
from runtime.cuda import cuda_status
from runtime.engines.stored import StoredEngine
from runtime.engines.tensorrt_engine import TensorRtEngine
from runtime.errors import EngineError, FallbackWarning
from runtime.target import TARGETS

pytestmark = pytest.mark.gpu

MakeModel = Callable[..., bytes]
Case = tuple[Target, Engine, Engine]


@pytest.fixture(scope="module", params=[slug for slug in TARGETS if slug.startswith("cuda-")])
def target(request: pytest.FixtureRequest) -> Target:
    found = Target.parse(request.param)
    if (missing := found.missing()) is not None:
        pytest.skip(missing.what)
    return found


@pytest.fixture(scope="module")
def engines(target: Target) -> Case:
    """A network with attention and two levels on the GPU, and in fp32 on the processor."""
    space = get_space("unet")
    config = space.parse_config(space.examples[0])
    network = space.build(space.genotype(config, space.random_picks(config, np.random.default_rng(0))))
    on_gpu = open_engine(export_onnx(network, network.multiple, network.scale, target.precision), target)
    return (
        target,
        on_gpu,
        open_engine(export_onnx(network, network.multiple, network.scale), Target("cpu", "onnxruntime", "fp32")),
    )


def _batch(seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, side, side + 32), dtype=np.float32)


def test_a_gpu_computes_what_the_processor_does(engines: Case) -> None:
    target, on_gpu, on_cpu = engines
    tolerance = 1e-4 if target.precision == "fp32" else 1e-2
    for seed, side in ((0, 64), (1, 64), (2, 128)):
        expected = on_cpu.run(_batch(seed, side))
        error = np.abs(on_gpu.run(_batch(seed, side)) - expected).max() / np.abs(expected).max()
        assert error < tolerance
    # planted fault: the picture before would not pass
    assert np.abs(on_gpu.run(_batch(0)) - on_cpu.run(_batch(1))).max() / np.abs(expected).max() > tolerance


def test_threads_may_share_a_gpu_engine(engines: Case) -> None:
    _, on_gpu, _ = engines
    batches = [_batch(seed) for seed in range(4)]
    alone = [on_gpu.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for together, expected in zip(pool.map(on_gpu.run, batches * 3), alone * 3, strict=True):
            np.testing.assert_allclose(together, expected, atol=1e-6)


def test_a_timer_gives_seconds_and_more_work_takes_longer(engines: Case) -> None:
    _, on_gpu, _ = engines
    small, large = on_gpu.timer(_batch(0, 64)), on_gpu.timer(_batch(0, 1024))
    assert 0 < min(small() for _ in range(5)) < min(large() for _ in range(5)) < 10


def test_another_precision_is_refused(target: Target, make_model: MakeModel) -> None:
    if target.precision == "fp32":
        assert open_engine(make_model(), target).target == target
        return
    with pytest.raises(EngineError, match="export the network with precision='fp16'"):
        open_engine(make_model(), target)


def test_what_a_table_says_of_the_device_is_known(target: Target) -> None:
    assert device_name(target)
    assert {"cuda", "capability"} <= set(read_conditions(target))
    assert engine_version(target).startswith(("onnxruntime-gpu ", "tensorrt"))
    assert clock_for(target).name == ("device" if target.engine.startswith("tensorrt") else "wall")


def _tensorrt(target: Target) -> None:
    if not target.engine.startswith("tensorrt"):
        pytest.skip("has no profiles")


def _stored(target: Target, model: bytes, folder: Path) -> StoredEngine:
    if target.backend not in AHEAD:
        pytest.skip("is not built ahead of time")
    profile = Profile((1, 16, 16), (1, 16, 16), (4, 16, 32))
    content, record = build_ahead(model, target, profile, [cuda_status().capability])
    (folder / record.file).write_bytes(content)
    return StoredEngine(record, folder / record.file)


def _one_convolution(target: Target) -> bytes:
    return export_onnx(nn.Conv2d(3, 3, 1, bias=False), precision=target.precision)


def test_one_engine_serves_the_shapes_of_a_profile_and_others_get_their_own(target: Target, tmp_path: Path) -> None:
    _tensorrt(target)
    model, kept = _one_convolution(target), tmp_path / "kernels"
    engine = TensorRtEngine(model, target, profile=Profile((1, 16, 16), (2, 16, 16), (4, 32, 32)), jit_cache=kept)
    alone = TensorRtEngine(model, target)
    for shape in ((1, 3, 16, 16), (4, 3, 32, 32), (3, 3, 17, 20), (1, 3, 64, 64)):
        batch = np.random.default_rng(0).random(shape, dtype=np.float32)
        assert engine.run(batch).shape == shape
        np.testing.assert_allclose(engine.run(batch), alone.run(batch), atol=2e-3)
    assert kept.is_file() == (target.engine == "tensorrtrtx")
    again = TensorRtEngine(model, target, jit_cache=kept)
    np.testing.assert_allclose(again.run(batch), alone.run(batch), atol=2e-3)


def test_a_stored_engine_that_fits_is_used(target: Target, tmp_path: Path) -> None:
    model = _one_convolution(target)
    stored = _stored(target, model, tmp_path)
    batch = np.random.default_rng(0).random((2, 3, 16, 24), dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = open_engine(model, target, stored)
    np.testing.assert_allclose(engine.run(batch), open_engine(model, target).run(batch), atol=2e-3)


def test_a_stored_engine_that_does_not_load_is_built_anew(target: Target, tmp_path: Path) -> None:
    model = _one_convolution(target)
    stored = _stored(target, model, tmp_path)
    stored.path.write_bytes(stored.path.read_bytes()[:1000])
    batch = np.random.default_rng(0).random((2, 3, 16, 24), dtype=np.float32)
    with pytest.warns(FallbackWarning, match="is not used: .*could not load"):
        engine = open_engine(model, target, stored)
    np.testing.assert_allclose(engine.run(batch), open_engine(model, target).run(batch), atol=2e-3)
