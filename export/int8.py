"""A network in eight-bit integers, from its float32 file and some pictures of the kind it will see.

Written for quality at a given speed rather than for the last millisecond, because a restoration network's output is
the picture itself: rounding that a classifier does not notice costs such a network tenths of a decibel. Three things
matter, each measured on the networks of the zoo (`export/int8_ladder.py` walks them): what is rounded at all, the
range that the eight bits span (`export/int8_ranges.py`), and the mean that rounding shifts, which goes into the biases.

The file is plain ONNX with QuantizeLinear and DequantizeLinear, activations uint8 and weights int8, which ONNX Runtime
and OpenVINO both read. Processors without VNNI multiply uint8 by int8 in 16 bits that can overflow: measure the loss on
the machine that serves.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.errors import ExportError
from export.int8_ranges import observe_ranges, open_tapped
from export.quantized_graph import QuantizableGraph, Range, drop_unused_weights, node_name, write_qdq
from export.simplify import checked, read_model, simplify

__all__ = ["Quantizer", "quantize", "spread"]

_BIAS_IMAGES = 16
"""Means over more images moved the zoo's quality by less than 0.001 dB."""


def quantize(
    model: bytes, calibration: Sequence[NDArray[np.float32]], left_out: Collection[str] = (), accurate: bool = False
) -> bytes:
    """Round a network to eight bits after training.

    Convolutions and what lies between them (additions, products, concatenations, depth-to-space) are quantized; never
    what comes behind the last convolution, nor what works on globally pooled values. The same arguments give the same
    bytes.

    Args:
        model: An ONNX file in float32.
        calibration: Images of the kind the network will see, each (1, 3, H, W), float32.
        left_out: Names of nodes, of the simplified graph, that stay in float32.
        accurate: Put the mean that rounding shifts into the biases, which takes seconds.

    Raises:
        ExportError: There are no images, an image has a wrong form, `left_out` names no quantizable node, nothing is
            left to quantize, or the model is not readable.
        TargetError: ONNX Runtime is not installed.
    """
    return Quantizer(model, calibration).quantize(left_out, accurate)


class Quantizer:
    """Several int8 forms of one network, which share what calibration found.

    Args:
        model: An ONNX file in float32.
        calibration: Images of the kind the network will see, each (1, 3, H, W), float32.

    Raises:
        ExportError: There are no images, an image has a wrong form, or the model is not readable or has nothing that
            can be quantized.
        TargetError: ONNX Runtime is not installed.
    """

    def __init__(self, model: bytes, calibration: Sequence[NDArray[np.float32]]) -> None:
        self.calibration = _checked_images(calibration)
        self.graph = QuantizableGraph(read_model(simplify(model)))
        if not self.graph.convolutions:
            raise ExportError("the network has no chain of convolutions, so nothing would run in int8; use fp32")
        tensors = self.graph.quantized_tensors(self.graph.quantizable)
        self.ranges: Mapping[str, Range] = observe_ranges(self.graph.model, tensors, self.calibration)

    def quantize(self, left_out: Collection[str] = (), accurate: bool = False) -> bytes:
        """What `export.int8.quantize` returns, without calibrating again."""
        known = self.graph.quantizable
        if unknown := sorted(set(left_out) - set(known)):
            raise ExportError(f"there is no quantizable node '{unknown[0]}'; there are {', '.join(known)}")
        convolutions = [name for name in self.graph.convolutions if name not in left_out]
        if not convolutions:
            raise ExportError("every convolution is left out, so nothing would run in int8; use fp32")
        model = write_qdq(self.graph, [name for name in known if name not in left_out], self.ranges)
        if accurate:
            _correct_biases(model, self.graph.model, convolutions, spread(self.calibration, _BIAS_IMAGES))
        notes = {entry.key: entry for entry in model.metadata_props}
        entry = notes.get("millisight.precision") or model.metadata_props.add()
        entry.key, entry.value = "millisight.precision", "int8"
        data: bytes = checked(model, "the int8 graph").SerializeToString(deterministic=True)
        return data


def _checked_images(calibration: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    if not calibration:
        raise ExportError("int8 needs calibration images; pass at least one, better some dozens")
    for image in calibration:
        if image.ndim != 4 or image.shape[:2] != (1, 3) or image.dtype != np.float32 or not np.isfinite(image).all():
            raise ExportError(
                f"a calibration image is finite float32 (1, 3, H, W), got {image.dtype} {image.shape}"
                + ("" if np.isfinite(image).all() else " with values that are not finite")
            )
    return [np.ascontiguousarray(image) for image in calibration]


def spread(images: Sequence[NDArray[np.float32]], count: int) -> list[NDArray[np.float32]]:
    """At most so many, evenly over all."""
    places = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    return [images[place] for place in places]


def _correct_biases(
    model: onnx.ModelProto, reference: onnx.ModelProto, names: Sequence[str], images: Sequence[NDArray[np.float32]]
) -> None:
    """Give every channel behind a quantized convolution the mean that it has in float32.

    One convolution after the other, since mending one moves all behind it (Finkelstein et al. 2019, Nagel et al. 2019).
    """
    nodes = {node_name(node): node for node in model.graph.node}
    outputs = [nodes[name].output[0] for name in names]
    wanted = _channel_means(reference, outputs, images)
    for name, output, want in zip(names, outputs, wanted, strict=True):
        (got,) = _channel_means(model, [output], images)
        _add_to_bias(model, nodes[name], (want - got).astype(np.float32))
    drop_unused_weights(model)


def _channel_means(
    model: onnx.ModelProto, tensors: Sequence[str], images: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    run = open_tapped(model, tensors)
    sums: list[NDArray[np.float64]] = [np.zeros(1)] * len(tensors)
    for image in images:
        means = [value.mean(axis=(0, 2, 3), dtype=np.float64) for value in run(image)]
        sums = [total + mean for total, mean in zip(sums, means, strict=True)]
    return [total / len(images) for total in sums]


def _add_to_bias(model: onnx.ModelProto, node: onnx.NodeProto, shift: NDArray[np.float32]) -> None:
    # A bias of its own: tied convolutions share theirs, and each is off by another mean.
    name = f"{node.output[0]}_bias"
    if len(node.input) > 2 and node.input[2]:
        (old,) = (entry for entry in model.graph.initializer if entry.name == node.input[2])
        shift = shift + numpy_helper.to_array(old)
    node.input[:] = [*node.input[:2], name]
    model.graph.initializer.append(numpy_helper.from_array(shift, name))
