"""What a network's tensors hold on calibration images, and the range that eight bits should span of each.

The largest value seen would waste codes on what is rare, and an average of largest values clips what is rare and loud
(rain, an edge at full contrast) by whole decibels. The range here is the one of least mean squared rounding and
clipping error over everything seen; a histogram of each tensor is enough to find it.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tqdm import tqdm

from export.quantized_graph import Range
from runtime.requirements import import_onnxruntime

__all__ = ["Run", "Tensors", "best_range", "observe_ranges", "open_tapped"]

Tensors = list[NDArray[np.float32]]
Run = Callable[[NDArray[np.float32]], Tensors]

_BINS = 4096
_SHRINK = np.geomspace(1.0, 0.15, 60)
"""Shares of a side of the range that are tried; below 0.15 a tensor would have to be all outliers."""
_ROUNDS = 3
_LEVELS = 255


def open_tapped(model: onnx.ModelProto, tensors: Sequence[str]) -> Run:
    """Run a model for some of its tensors, on ONNX Runtime and one thread so that sums come out the same each time.

    Args:
        model: With one input. Nodes that the tensors do not need are not run.
        tensors: Names of float32 tensors.

    Raises:
        TargetError: ONNX Runtime is not installed.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    data = _part(model, tensors).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    image = model.graph.input[0].name

    def run(batch: NDArray[np.float32]) -> Tensors:
        found: Tensors = session.run(list(tensors), {image: batch})
        return found

    return run


def observe_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], calibration: Sequence[NDArray[np.float32]]
) -> dict[str, Range]:
    """The best range of each tensor, from two passes over the images: how far values reach, then how often each occurs.

    Args:
        model: In float32.
        tensors: Names of float32 tensors of it.
        calibration: Images, each (1, 3, H, W) in [0, 1] or as the task makes them.
    """
    run = open_tapped(model, tensors)
    low = np.zeros(len(tensors))
    high = np.zeros(len(tensors))
    for values in _progress(run, calibration, "ranges"):
        low = np.minimum(low, [float(value.min()) for value in values])
        high = np.maximum(high, [float(value.max()) for value in values])
    counts = np.zeros((len(tensors), _BINS), np.int64)
    for values in _progress(run, calibration, "histograms"):
        for place, value in enumerate(values):
            width = (high[place] - low[place]) or 1.0
            bins = ((value.ravel() - np.float32(low[place])) * np.float32(_BINS / width)).astype(np.int32)
            counts[place] += np.bincount(np.clip(bins, 0, _BINS - 1), minlength=_BINS)
    found = zip(tensors, low, high, counts, strict=True)
    return {name: best_range(float(bottom), float(top), count) for name, bottom, top, count in found}


def best_range(low: float, high: float, counts: NDArray[np.int64]) -> Range:
    """The range of least mean squared error after rounding to 256 codes and clipping.

    Args:
        low: Smallest value seen, at most 0.
        high: Largest, at least 0.
        counts: How many values fell into each of as many equal parts of [low, high].
    """
    if high <= low:
        return Range(0.0, 0.0)
    filled = counts > 0
    centres = (low + (np.arange(len(counts)) + 0.5) * (high - low) / len(counts))[filled]
    share = counts[filled] / counts.sum()

    def error(candidate: Range) -> float:
        scale, zero = float(candidate.scale), int(candidate.zero_point)
        codes = np.clip(np.round(centres / scale) + zero, 0, _LEVELS)
        return float(share @ ((codes - zero) * scale - centres) ** 2)

    best = Range(low, high)
    least = error(best)
    for _ in range(_ROUNDS):  # the two sides in turn
        before = best
        for part in _SHRINK:
            for candidate in (Range(low * part, best.high), Range(best.low, high * part)):
                if candidate.high > candidate.low and (found := error(candidate)) < least:
                    best, least = candidate, found
        if best == before:
            break
    return best


def _progress(run: Run, calibration: Sequence[NDArray[np.float32]], label: str) -> Iterator[Tensors]:
    for image in tqdm(calibration, desc=f"int8 {label}", unit="image", leave=False):
        yield run(image)


def _part(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The nodes that some tensors need, with these as outputs."""
    wanted = set(tensors)
    nodes = []
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            wanted.update(node.input)
            nodes.append(node)
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors]
    weights = [entry for entry in model.graph.initializer if entry.name in wanted]
    graph = helper.make_graph(nodes[::-1], "part", list(model.graph.input), outputs, weights)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
