"""Bundles whose networks take real time, with records measured here and now; one that can give NaN, and one damaged."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime.engine import open_engine
from runtime.records import LatencyRecord
from runtime.target import Target
from runtime.tiles import SizeContract
from tests.servers import write_known_bundle

TARGET = "cpu-onnxruntime-fp32-1t"
HEADROOM = 5.0
"""Promises are this many times what was measured: a test machine that is busy for a while does not break them."""
BUDGET_HEADROOM = 6.0
"""Budgets are above the promises."""


def deep_network(scale: int, layers: int, width: int = 16) -> bytes:
    """A network that gives its picture back, `scale` times enlarged, after layers whose result counts for nothing."""
    random = np.random.default_rng(0)
    constants, nodes, channels, value = [], [], 3, "image"
    for layer in range(layers):
        weights = random.normal(0, 0.05, (width, channels, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"weights{layer}"))
        nodes.append(helper.make_node("Conv", [value, f"weights{layer}"], [f"wide{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Clip", [f"wide{layer}", "low", "high"], [f"kept{layer}"]))
        channels, value = width, f"kept{layer}"
    last = np.zeros((3 * scale * scale, channels + 3, 3, 3), dtype=np.float32)
    for channel in range(3):
        last[channel * scale**2 : (channel + 1) * scale**2, channels + channel, 1, 1] = 1.0
    # Too little to be seen, too much to be optimised away.
    last[:, :channels] = 1e-9
    nodes.append(helper.make_node("Concat", [value, "image"], ["all"], axis=1))
    nodes.append(helper.make_node("Conv", ["all", "last"], ["out"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("DepthToSpace", ["out"], ["restored"], blocksize=scale, mode="CRD"))
    constants += [numpy_helper.from_array(last, "last")]
    constants += [numpy_helper.from_array(np.float32(bound), name) for bound, name in ((-1, "low"), (1, "high"))]
    return _model(nodes, constants)


def fragile_network() -> bytes:
    """A network that changes nothing, and gives NaN for a tile that is black all over."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["light"]),
        helper.make_node("Div", ["light", "light"], ["one"]),
        helper.make_node("Mul", ["image", "one"], ["restored"]),
    ]
    return _model(nodes, [])


def measured_ms(model: bytes, tile: int, runs: int = 7) -> float:
    """What a tile takes here: the median of some runs, wall time."""
    engine = open_engine(model, Target.parse(TARGET))
    batch = np.full((1, 3, tile, tile), 0.5, dtype=np.float32)
    engine.run(batch)
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        engine.run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * sorted(times)[runs // 2]


def write_subjects(root: Path) -> Path:
    """Two models with promises and budgets, one without, and a folder that cannot be served.

    Returns:
        The folder of all of them.
    """
    for name, task, scale, tile, layers in (
        ("live-denoise", "denoise", 1, 128, 6),
        ("live-x2", "super-resolution", 2, 64, 12),
    ):
        model = deep_network(scale, layers)
        ms = measured_ms(model, tile)
        record = LatencyRecord(
            target=TARGET, device="this machine", height=tile, width=tile, predicted_ms=HEADROOM * ms,
            measured_ms=HEADROOM * ms, spread=0.05, budget_ms=BUDGET_HEADROOM * ms,
            engine_version="onnxruntime", date="2026-01-01",
        )  # fmt: skip
        write_known_bundle(root / name, name, task, scale=scale, tile=tile, model=model, latency=[record])
    # Warm-up runs the least tile too, and one of a single pixel would be black.
    size = SizeContract(multiple=8, minimum=8, tile=(64, 64), overlap=8, scale=1)
    write_known_bundle(root / "fragile", "live-fragile", "derain", model=fragile_network(), size=size)
    damaged = write_known_bundle(root / "damaged", "live-damaged", "derain")
    (damaged.folder / "model.onnx").write_bytes(b"no network")
    return root


def _model(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "live",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, ["n", 3, "sh", "sw"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
