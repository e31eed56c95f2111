import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest

from export import export_onnx
from models import spaces
from runtime.engine import open_engine
from runtime.engines.openvino_engine import OpenVinoEngine
from runtime.errors import EngineError
from runtime.target import Target
from tests.networks import shaken_network

pytest.importorskip("openvino", reason="needs openvino")

MakeModel = Callable[..., bytes]
TARGET = Target("cpu", "openvino", "fp32", 1)
REFERENCE = Target("cpu", "onnxruntime", "fp32", 1)
EXAMPLES = [
    pytest.param(name, values, id=f"{name}-{number}", marks=[pytest.mark.slow] * (number > 0))
    for name, space in spaces().items()
    for number, values in enumerate(space.examples)
]


def _two_levels(noted: bool = True) -> bytes:
    """A network that needs a multiple of 4, with or without its note of that."""
    space = spaces()["unet"]
    network = shaken_network("unet", {"channels": (8, 16), "blocks": 1, **space.task_config(1)})
    assert network.multiple == 4
    model = onnx.load_from_string(export_onnx(network, network.multiple))
    if not noted:
        del model.metadata_props[:]
    content: bytes = model.SerializeToString()
    return content


def _batch(seed: int, height: int = 16, width: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).random((1, 3, height, width), dtype=np.float32)


@pytest.mark.parametrize(("name", "values"), EXAMPLES)
def test_every_space_gives_what_onnx_runtime_gives(name: str, values: dict[str, Any]) -> None:
    """At sizes that are no powers of two: the first has a model of its own, the others share one."""
    network = shaken_network(name, values)
    model, multiple = export_onnx(network, network.multiple, network.scale), network.multiple
    ours, reference = open_engine(model, TARGET), open_engine(model, REFERENCE)
    for batches, rows, columns in ((1, 5, 7), (2, 3, 5), (1, 7, 3), (1, 5, 7)):
        x = np.random.default_rng(rows).random((batches, 3, rows * multiple, columns * multiple), dtype=np.float32)
        expected = reference.run(x)
        got = ours.run(x)
        size = np.abs(expected).max()
        assert got.dtype == np.float32
        assert got.shape == expected.shape == (batches, 3, *(network.scale * side for side in x.shape[2:]))
        assert np.abs(got - expected).max() < 1e-5 * size
        # planted fault: another picture, and a tenth of a grey level
        assert np.abs(ours.run(x[..., ::-1]) - expected).max() > 1e-3 * size
        assert np.abs(ours.run(x + np.float32(1 / 2550)) - expected).max() > 1e-5 * size


def test_a_file_in_fp16_is_computed_in_fp32() -> None:
    """As ONNX Runtime does on the processor: the weights are rounded, the arithmetic is not."""
    network = shaken_network("unet", spaces()["unet"].examples[0])
    model = export_onnx(network, network.multiple, network.scale, "fp16")
    x = _batch(0, 8 * network.multiple, 8 * network.multiple)
    got, expected = open_engine(model, TARGET).run(x), open_engine(model, REFERENCE).run(x)
    full = open_engine(export_onnx(network, network.multiple, network.scale), REFERENCE).run(x)
    rounding = np.abs(full - expected).max()
    assert 0 < np.abs(got - full).max() < 2 * rounding
    # far from what arithmetic in bf16 would do, which a processor that has it takes by itself
    assert rounding < 2.0**-9 * np.abs(full).max()


def test_threads_may_share_an_engine_and_get_the_same_bits() -> None:
    engine = open_engine(_two_levels(), TARGET)
    batches = [_batch(seed, 16 + 4 * (seed % 4), 20) for seed in range(8)]
    alone = [engine.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for together, expected in zip(pool.map(engine.run, batches * 4), alone * 4, strict=True):
            np.testing.assert_array_equal(together, expected)
    assert len({one.tobytes() for one in alone}) == len(alone)


def test_a_result_does_not_change_later() -> None:
    engine = open_engine(_two_levels(), TARGET)
    for height in (16, 20, 24):
        first = engine.run(_batch(0, height))
        kept = first.copy()
        engine.run(_batch(1, height))
        np.testing.assert_array_equal(first, kept)


def test_however_many_sizes_come_two_models_are_compiled() -> None:
    engine = OpenVinoEngine(_two_levels(), TARGET)
    assert engine._first is engine._others is None
    engine.run(_batch(0, 16))
    engine.run(_batch(0, 20))
    first, others = engine._first, engine._others
    assert first is not None
    assert others is not None
    for height in (24, 16, 28, 32, 20, 36):
        engine.run(_batch(0, height))
    assert engine._first is first
    assert engine._others is others


def test_a_timer_gives_seconds_and_leaves_the_engine_alone() -> None:
    engine = OpenVinoEngine(_two_levels(), TARGET)
    batch = _batch(0)
    expected = engine.run(batch)
    first = engine._first
    timers = [engine.timer(_batch(seed, height)) for seed, height in ((0, 16), (1, 256))]
    for _ in range(3):
        assert all(timer() > 0 for timer in timers)
        np.testing.assert_array_equal(engine.run(batch), expected)
    assert engine._first is first


def test_a_size_that_the_model_does_not_take_is_refused_and_harms_no_other() -> None:
    """Without its note too, where only OpenVINO can tell: what it compiled is of no use after that."""
    good = [_batch(0, 16), _batch(1, 20), _batch(2, 24, 32)]
    for noted in (True, False):
        engine = open_engine(_two_levels(noted), TARGET)
        expected = [engine.run(batch) for batch in good]
        for height, width in ((17, 20), (16, 21), (18, 18), (1, 1), (16, 2)):
            for attempt in (engine.run, engine.timer):
                with pytest.raises(EngineError, match=r"shape|refused"):
                    attempt(_batch(0, height, width))
            # The size that came just before the bad one comes first: that is the one OpenVINO goes wrong on.
            for batch, before in reversed(list(zip(good, expected, strict=True))):
                np.testing.assert_array_equal(engine.run(batch), before)


def test_a_size_that_is_refused_first_does_not_take_the_place_of_the_first() -> None:
    engine = OpenVinoEngine(_two_levels(noted=False), TARGET)
    with pytest.raises(EngineError, match="OpenVINO refused the model for"):
        engine.run(_batch(0, 17))
    engine.run(_batch(0, 20))
    assert engine._first is not None
    assert engine._first[0] == (1, 3, 20, 20)


def test_damaged_files_are_refused_or_run() -> None:
    """What hashes let through, or a user's own file: never another kind of error."""
    content, generator, refused = _two_levels(), random.Random(0), 0
    for number in range(40):
        damaged = bytearray(content)
        if number % 2:
            del damaged[generator.randrange(len(content)) :]
        else:
            for _ in range(20):
                damaged[generator.randrange(len(content))] = generator.randrange(256)
        try:
            open_engine(bytes(damaged), TARGET).run(_batch(0))
        except EngineError:
            refused += 1
    assert refused > 10
