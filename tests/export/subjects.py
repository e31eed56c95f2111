"""Small networks of any space, in bundles, with images to judge them on: for the tests of what is made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from export import Subject, compose_bundle, export_onnx, sample_pair
from export.calibration import calibration_patches
from models import Network, content_hash, get_space, num_parameters
from runtime import Card, Lineage, Manifest, SizeContract
from runtime.records import LatencyRecord
from tasks import Sample, dead_leaves, get_task, validation_pairs

CARD = Card(data="Leaves.", licence="Apache-2.0.", limits="Expect little.", command="millisight search")
CPU = ("cpu-onnxruntime-fp32", "cpu-onnxruntime-int8", "cpu-openvino-fp32", "cpu-openvino-int8")
TINY: dict[str, Any] = {"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3",), "widths": (1.0,)}


def random_network(space_name: str, values: dict[str, Any], seed: int = 0, residual: float = 0.2) -> Network:
    """Random picks and weights; the last convolution changes the picture by at most `residual`, as training would."""
    space = get_space(space_name)
    config = space.parse_config(values)
    torch.manual_seed(seed)
    network = space.build(space.genotype(config, space.random_picks(config, np.random.default_rng(seed)))).eval()
    convolutions: list[nn.Conv2d] = []
    hooks = [
        module.register_forward_hook(lambda layer, *_: convolutions.append(layer))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    picture = torch.rand(1, 3, 8 * network.multiple, 8 * network.multiple)
    with torch.no_grad():  # networks that start as the identity would hide what they compute
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        seen = network(picture)
        last = list(convolutions[-1].parameters())
        kept = [parameter.clone() for parameter in last]
        for parameter in last:
            parameter.zero_()
        strength = residual / float((seen - network(picture)).abs().max())
        for parameter, value in zip(last, kept, strict=True):
            parameter.copy_(strength * value)
    for hook in hooks:
        hook.remove()
    return network


def tiny_network(scale: int = 1, seed: int = 0, **values: Any) -> Network:
    """A network of the space unet whose residual can be seen, and does not drown what else goes wrong."""
    return random_network("unet", {**get_space("unet").task_config(scale), **TINY, **values}, seed, residual=0.05)


def samples(count: int, side: int, seed: int) -> list[Sample]:
    """Dead leaves."""
    return [Sample(f"s/{seed}/{n}", dead_leaves(np.random.default_rng([seed, n]), side)) for n in range(count)]


def make_subject(folder: Path, network: Network, *, weights: bool = True, pairs: int = 2, side: int = 40) -> Subject:
    """A bundle as a run leaves it: one graph, promised on one thread; and images.

    Args:
        folder: Of the bundle.
        network: What is in it.
        weights: Whether the network itself is at hand, as from a run.
        pairs: Of the gate.
        side: Of the gate's degraded images.
    """
    scale, multiple = network.scale, network.multiple
    task = get_task("denoise") if scale == 1 else get_task("super-resolution", scale)
    tile = -(-32 // multiple) * multiple
    onnx = export_onnx(network, multiple, scale)
    promise = LatencyRecord(
        target="cpu-onnxruntime-fp32-1t", device="Some CPU", height=tile, width=tile, predicted_ms=9.0,
        measured_ms=9.5, spread=0.01, budget_ms=10.0, engine_version="onnxruntime 1", date="2026-01-01",
    )  # fmt: skip
    lineage = Lineage(
        genotype="g", table="t", weights=content_hash(sorted(network.state_dict())), onnx="0" * 16, code_version="0",
        config="c",
    )  # fmt: skip
    manifest = Manifest(
        name=f"small-x{scale}",
        task=task.name,
        scale=scale,
        size=SizeContract(multiple=multiple, minimum=multiple, tile=(tile, tile), overlap=8, scale=scale),
        receptive_field=None,
        lineage=lineage,
        latency=[promise],
        method="autoderain",
        parameters=num_parameters(network),
        created="2026-01-01T00:00:00+00:00",
    )
    gray = np.full((3, 8, 8), 0.5, dtype=np.float32)
    sample = sample_pair(gray, gray.repeat(scale, 1).repeat(scale, 2), scale)
    bundle = compose_bundle(folder, manifest, {"model.onnx": onnx}, CARD, sample)
    return Subject(
        bundle=bundle,
        task=task,
        pairs=tuple(validation_pairs(task, samples(pairs, side * scale, 1), pairs)),
        dataset="leaves",
        calibration=tuple(calibration_patches(task, samples(2, 48 * scale, 2), multiple, count=4, side=32)),
        network=network if weights else None,
    )


def swapped_channels(model: onnx.ModelProto) -> None:
    """Blue comes in where red was, as from a file that was made for another order."""
    order = numpy_helper.from_array(np.array([2, 1, 0], dtype=np.int64), "bgr")
    model.graph.initializer.append(order)
    for node in model.graph.node:
        node.input[:] = ["swapped" if name == "image" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Gather", ["image", "bgr"], ["swapped"], axis=1))
