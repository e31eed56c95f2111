"""A fixed piece of work, whose time tells how fast a device is just now. See `runtime.timing`."""

from typing import NamedTuple

import torch
from torch import nn

from export.onnx_graph import export_onnx
from runtime import Target

__all__ = ["Anchor", "anchor_for"]

CHANNELS = 32
SIDE = 80
"""Side of its input in pixels: a few milliseconds of work on a processor."""
GPU_SIDE = 1024
"""A GPU needs more pixels for that."""


class Anchor(NamedTuple):
    """A graph, and the side of its square input in pixels."""

    graph: bytes
    side: int


def anchor_for(target: Target) -> Anchor:
    """Convolutions that every engine of a target's device runs; latency tables depend on their being always the same.

    There is none in int8, which would need calibration: for an int8 target it is in fp32.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers: list[nn.Module] = [nn.Conv2d(3, CHANNELS, 3, padding=1), nn.ReLU()]
        for _ in range(3):
            layers += [nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Conv2d(CHANNELS, 3, 3, padding=1))
    precision = "fp16" if target.precision == "fp16" else "fp32"
    return Anchor(export_onnx(network, precision=precision), GPU_SIDE if target.on_gpu else SIDE)
