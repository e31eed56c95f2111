"""How much of a network to round: the fastest int8 form that keeps its quality.

The ladder starts with everything in eight bits and leaves out, step by step, what costs most quality for the time that
it saves. What each part costs is measured by rounding it alone; errors of parts add up nearly, so this orders them.
Parts are single convolutions, and the additions and products of one resolution together: between two that are rounded
a tensor is stored in eight bits, so leaving out one of them alone would save no memory traffic.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from export.int8 import Quantizer, spread
from export.int8_ranges import open_tapped
from export.quantized_graph import QuantizableGraph, write_qdq

__all__ = ["Int8Choice", "Rung", "Tried", "choose_int8", "rungs"]

AIM = 0.04
"""What int8 may lose for its speed, in dB. On other images than those it was chosen on it may be a quarter more."""
GATE = 0.1
"""What int8 may lose at all, in dB."""

_RUNGS = 9
_LOOK_FURTHER = 2
"""Rungs tried beyond the first that is good enough: the order is an estimate, time is measured."""
_SAME_TIME = 1.02
"""Timings closer than this are one: the better picture is taken."""
_LEAST_SHARE = 0.25
"""Of the multiply-accumulates, below which int8 has nothing left to save."""
_IMAGES = 4
_WORK_PER_VALUE = 8
"""Multiply-accumulates in the time that it takes to write and read a value in four bytes instead of one; measured with
OpenVINO on AVX-512."""


@dataclass(frozen=True)
class Rung:
    """One way to round a network.

    Attributes:
        name: What is left out, for people.
        model: The ONNX file in int8.
        left_out: Names of the nodes that stay in float32.
    """

    name: str
    model: bytes
    left_out: frozenset[str]


class Tried(NamedTuple):
    """What a rung turned out to be worth.

    Attributes:
        name: Of the rung.
        db_lost: Positive when worse than float32.
        seconds: Of one run.
    """

    name: str
    db_lost: float
    seconds: float


@dataclass(frozen=True)
class Int8Choice:
    """The rung that was taken, and all that were tried.

    Attributes:
        model: Its ONNX file, or None where every rung loses too much.
        rung: Its name, or an empty text.
        tried: In the order of the ladder.
    """

    model: bytes | None
    rung: str
    tried: tuple[Tried, ...]

    @property
    def least_lost(self) -> float:
        """Loss of the best rung in dB; infinite if none gave a number."""
        return min((entry.db_lost for entry in self.tried if math.isfinite(entry.db_lost)), default=math.inf)


def choose_int8(
    model: bytes,
    calibration: Sequence[NDArray[np.float32]],
    db_lost: Callable[[bytes], float],
    seconds: Callable[[bytes], float],
    aim: float = AIM,
    gate: float = GATE,
) -> Int8Choice:
    """The fastest rung that loses at most `aim`; if there is none, the fastest that loses at most `gate`.

    At most nine rungs are tried, and no more once two beyond a good enough one are known: with 64 patches of 128x128
    pixels about a minute for a network of the zoo.

    Args:
        model: An ONNX file in float32.
        calibration: Images of the kind the network will see, each (1, 3, H, W), float32, and none that `db_lost` uses.
        db_lost: Quality that a model loses against float32, in dB.
        seconds: Of one run of a model.
        aim: dB that may be lost for speed.
        gate: dB that may be lost at all.

    Raises:
        ExportError: The model cannot be quantized, or the images are of a wrong form.
        TargetError: ONNX Runtime is not installed.
    """
    tried: list[Tried] = []
    models: dict[str, bytes] = {}
    beyond = 0
    for rung in rungs(model, calibration):
        tried.append(Tried(rung.name, db_lost(rung.model), seconds(rung.model)))
        models[rung.name] = rung.model
        beyond += any(entry.db_lost <= aim for entry in tried)
        if beyond > _LOOK_FURTHER:
            break
    for bound in (aim, gate):
        if kept := [entry for entry in tried if entry.db_lost <= bound]:
            limit = _SAME_TIME * min(entry.seconds for entry in kept)
            best = min((entry for entry in kept if entry.seconds <= limit), key=lambda entry: entry.db_lost)
            return Int8Choice(models[best.name], best.name, tuple(tried))
    return Int8Choice(None, "", tuple(tried))


def rungs(model: bytes, calibration: Sequence[NDArray[np.float32]]) -> Iterator[Rung]:
    """Int8 forms of a network, from the fastest to the most careful; each leaves out all that the one before did.

    Raises:
        ExportError: The model cannot be quantized, or the images are of a wrong form.
        TargetError: ONNX Runtime is not installed.
    """
    quantizer = Quantizer(model, calibration)
    yield Rung("all in int8", quantizer.quantize((), accurate=True), frozenset())
    parts = sorted(_parts(quantizer), key=lambda part: part.cost, reverse=True)
    whole = sum(part.work for part in parts if part.convolution)
    count = 0
    for _ in range(1, _RUNGS):
        count += max(1, count // 2)
        left_out = frozenset(name for part in parts[:count] for name in part.nodes)
        rest = sum(part.work for part in parts[count:] if part.convolution)
        if rest < _LEAST_SHARE * whole:
            return
        yield Rung(_name(parts[:count]), quantizer.quantize(left_out, accurate=True), left_out)


@dataclass(frozen=True)
class _Part:
    """Nodes that are left out together.

    Attributes:
        name: For people.
        nodes: Their names.
        convolution: Whether it is one.
        work: Multiply-accumulates, or what takes as long.
        noise: Mean squared error of the network's output when these alone are rounded.
    """

    name: str
    nodes: tuple[str, ...]
    convolution: bool
    work: float
    noise: float

    @property
    def cost(self) -> float:
        return self.noise / self.work


def _parts(quantizer: Quantizer) -> Iterator[_Part]:
    graph = quantizer.graph
    images = spread(quantizer.calibration, _IMAGES)
    names = graph.quantizable
    outputs = open_tapped(graph.model, [graph.nodes[name].output[0] for name in names])(images[0])
    shapes = {name: value.shape for name, value in zip(names, outputs, strict=True)}
    groups: list[tuple[tuple[str, ...], str]] = [((name,), name) for name in graph.convolutions]
    for height in sorted({shapes[name][2] for name in graph.joints}, reverse=True):
        nodes = tuple(name for name in graph.joints if shapes[name][2] == height)
        groups.append((nodes, f"joints at {Fraction(height, images[0].shape[2])} size"))
    expected = _restored(graph, graph.model, images)
    for nodes, label in tqdm(groups, desc="int8 sensitivity", unit="part", leave=False):
        found = _restored(graph, write_qdq(graph, nodes, quantizer.ranges), images)
        noise = float(np.mean([np.mean((a - b) ** 2) for a, b in zip(found, expected, strict=True)]))
        work = sum(_work(graph, name, shapes[name]) for name in nodes)
        yield _Part(label, nodes, nodes[0] in graph.convolutions, work, noise)


def _restored(
    graph: QuantizableGraph, model: onnx.ModelProto, images: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float32]]:
    run = open_tapped(model, [graph.model.graph.output[0].name])
    return [run(image)[0] for image in images]


def _work(graph: QuantizableGraph, name: str, shape: tuple[int, ...]) -> float:
    """Of a node whose output has this shape."""
    if name in graph.convolutions:
        return float(graph.weight(name).size * shape[2] * shape[3])
    return float(_WORK_PER_VALUE * math.prod(shape))


def _name(parts: Sequence[_Part]) -> str:
    shown = ", ".join(part.name for part in parts[:3])
    return f"{len(parts)} in fp32: {shown}" + (", ..." if len(parts) > 3 else "")
