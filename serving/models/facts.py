"""What a bundle's records say of the step that is served: its dB, and its time where it was made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.manifest import Manifest
from runtime.records import without_threads
from runtime.target import Target
from serving.scheduling.costs import TileCosts

__all__ = ["Facts", "QualityKey", "SpeedKey", "facts_of", "family_of", "quality_of", "speed_of"]

QualityKey = tuple[str, str, int]
"""Under what dB may be compared: images, metric, number of images."""

SpeedKey = tuple[str, str]
"""Under what times may be compared: device, and threads as in a slug (`-2t`, empty on a GPU)."""

_THREADS = re.compile(r"(-\d+t)?$")


@dataclass(frozen=True)
class Facts:
    """What decides the role of a model in its family.

    Attributes:
        parameters: Number of weights.
        here_ms: Expected milliseconds for a megapixel on this machine.
        quality: dB of the step that is served.
        speed: Milliseconds for a megapixel on the target it is served on, where the bundle was made.
    """

    parameters: int
    here_ms: float
    quality: Mapping[QualityKey, float] = field(default_factory=dict)
    speed: Mapping[SpeedKey, float] = field(default_factory=dict)


def family_of(manifest: Manifest) -> str:
    """Shared by the bundles of one run: the hash of its config."""
    return manifest.lineage.config or manifest.name


def facts_of(manifest: Manifest, target: Target, costs: TileCosts) -> Facts:
    """What decides the role of a bundle on a target.

    Args:
        manifest: Of the bundle.
        target: Where it runs.
        costs: What its tiles cost there.
    """
    tile = manifest.size.tile
    # Without the drift: roles must not change because the machine is busy for a while.
    here_ms = costs.seconds(tile, 1) / costs.factor / (tile[0] * tile[1]) * 1e9
    return Facts(manifest.parameters, here_ms, quality_of(manifest, target), speed_of(manifest, target))


def quality_of(manifest: Manifest, target: Target) -> dict[QualityKey, float]:
    """Decibels of the graph that this target runs, first record first; empty if nobody measured it."""
    step = f"onnx-{target.precision}"
    records = [record for record in manifest.quality if record.step == step]
    return {(record.dataset, record.metric, record.images): record.restored_db for record in reversed(records)}


def speed_of(manifest: Manifest, target: Target) -> dict[SpeedKey, float]:
    """Measured milliseconds for a megapixel on this target, with whatever threads; of one picture at a time."""
    times = [
        (record.target, record.device, record.height * record.width, record.measured_ms)
        for record in manifest.latency
        if record.measured_ms is not None
    ]
    # After the promise: all of one date were timed in turns.
    times += [
        (record.target, record.device, record.height * record.width, record.ms)
        for record in manifest.speed
        if record.batch == 1
    ]
    return {
        (device, _threads(slug)): ms / pixels * 1e6
        for slug, device, pixels, ms in times
        if without_threads(slug) == target.kind
    }


def _threads(slug: str) -> str:
    found = _THREADS.search(slug)
    return found[0] if found else ""
