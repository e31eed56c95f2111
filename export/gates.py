"""The gate between torch and ONNX: same images in, same images out, or no bundle."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.errors import GateError
from models import Network, restore_whole
from runtime import Engine
from tasks.batches import ValidationPair
from tasks.evaluate import Quality
from tasks.task import Task

MAX_DIFFERENCE = 1 / 255
MAX_DB_LOST = 0.001
FP16_MAX_DIFFERENCE = 2 / 255
"""Rounding to eleven bits adds up over the layers; small random networks are off by up to 0.4 grey levels."""
FP16_MAX_DB_LOST = 0.02
_BOUNDS = {"fp32": (MAX_DIFFERENCE, MAX_DB_LOST), "fp16": (FP16_MAX_DIFFERENCE, FP16_MAX_DB_LOST)}


@dataclass(frozen=True)
class Parity:
    """What a step did to the images.

    Attributes:
        max_difference: Largest absolute difference of any pixel, in [0, 1].
        mean_difference: Mean absolute difference.
        before: Quality of the torch network.
        after: Quality of the engine on the same images.
    """

    max_difference: float
    mean_difference: float
    before: Quality
    after: Quality

    @property
    def db_lost(self) -> float:
        """Positive when the engine is worse."""
        return self.before.restored_db - self.after.restored_db


def run_whole(engine: Engine, image: NDArray[np.float32], multiple: int, scale: int) -> NDArray[np.float32]:
    """What `models.restore_whole` does, in an engine: one untiled pass over a (3, H, W) image, clipped.

    Raises:
        GateError: The engine's output has another size.
    """
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (0, -height % multiple), (0, -width % multiple)), mode="edge")
    restored = engine.run(np.ascontiguousarray(padded[None]))
    wanted = (1, 3, padded.shape[1] * scale, padded.shape[2] * scale)
    if restored.shape != wanted:
        raise GateError(f"the exported network turns {padded.shape} into {restored.shape}, not into {wanted}")
    return np.clip(restored[0, :, : height * scale, : width * scale], 0.0, 1.0)


def compare(network: Network, engine: Engine, task: Task, pairs: Sequence[ValidationPair]) -> Parity:
    """Run both on every pair and score both; nothing is judged here."""
    worst, means, before, after, baseline = 0.0, [], [], [], []
    for pair in pairs:
        ours = restore_whole(network, pair.degraded)
        theirs = run_whole(engine, pair.degraded, network.multiple, network.scale)
        difference = np.abs(ours - theirs)
        # A NaN must not slip through a maximum.
        worst = max(worst, float(difference.max())) if np.isfinite(difference).all() else float("inf")
        means.append(float(difference.mean()))
        before.append(task.psnr(ours, pair.clean))
        after.append(task.psnr(theirs, pair.clean))
        baseline.append(task.psnr(task.baseline(pair.degraded), pair.clean))
    count = len(pairs)
    reference = float(np.mean(baseline))
    return Parity(
        worst,
        float(np.mean(means)),
        Quality(reference, float(np.mean(before)), count),
        Quality(reference, float(np.mean(after)), count),
    )


def require_parity(parity: Parity, step: str, precision: str = "fp32") -> None:
    """Refuse a step that changed the images.

    Args:
        parity: What `compare` found.
        step: For the message.
        precision: What the engine's graph computes in, `"fp32"` or `"fp16"`.

    Raises:
        GateError: Non-finite output, a pixel off by more than 1/255, or more than 0.001 dB lost; in fp16 2/255 and
            0.02 dB.
    """
    max_difference, max_db_lost = _BOUNDS[precision]
    if parity.max_difference <= max_difference and parity.db_lost <= max_db_lost:
        return
    raise GateError(
        f"{step} does not compute what the trained network computes:\n"
        f"  largest difference  {parity.max_difference:.6f}  (allowed {max_difference:.6f})\n"
        f"  dB before -> after  {parity.before.restored_db:.4f} -> {parity.after.restored_db:.4f}  "
        f"(allowed loss {max_db_lost} dB)\n"
        "the bundle was not written; please report this with the genotype"
    )
