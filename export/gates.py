"""The gate that every step from weights to an engine passes: same images in, same images out."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from export.errors import GateError
from models import Network, restore_whole
from runtime import Engine, StepRecord
from tasks.batches import ValidationPair
from tasks.parity import BOUNDS, Parity, finite, remember, verdict
from tasks.parity import compare as compare_functions
from tasks.task import Task

__all__ = [
    "Gate",
    "Parity",
    "ReferenceName",
    "Restore",
    "compare",
    "images_hash",
    "require_parity",
    "run_whole",
    "whole",
]

Restore = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""float32 (3, h, w) -> float32 (3, scale*h, scale*w) in [0, 1]."""

ReferenceName = Literal["torch", "onnx-fp32"]


class Gate:
    """Fixed images, what a reference makes of them (asked once), and the verdict on everything else.

    Args:
        name: What the reference is.
        reference: The trained network in torch, or the ONNX file in fp32 where no weights are at hand.
        task: Gives the metric.
        pairs: The images; the same at every step.
    """

    def __init__(self, name: ReferenceName, reference: Restore, task: Task, pairs: Sequence[ValidationPair]) -> None:
        self.name, self.task, self.pairs = name, task, tuple(pairs)
        self.reference = remember(reference)

    def check(self, restore: Restore) -> Parity:
        """Run something on every image and compare; nothing is judged here.

        Raises:
            GateError: It gives an image of a wrong size.
        """
        return compare_functions(self.reference, restore, self.task, self.pairs)

    def record(self, step: str, precision: str, parity: Parity, *, file: str = "", source: str = "") -> StepRecord:
        """A step that was compared: `ok` within the bounds of its precision, else `failed` or `dropped` and why."""
        fault = verdict(parity, precision)
        return StepRecord(
            name=step,
            status=BOUNDS[precision].action if fault else "ok",
            why=fault,
            file=file,
            source=source,
            reference=self.name,
            max_difference=finite(parity.max_difference),
            mean_difference=finite(parity.mean_difference),
            reference_db=finite(parity.reference_db),
            db_lost=finite(parity.db_lost),
            images=len(self.pairs),
        )


def whole(engine: Engine, multiple: int, scale: int) -> Restore:
    """An engine as a function of one image (see `run_whole`)."""
    return lambda image: run_whole(engine, image, multiple, scale)


def run_whole(engine: Engine, image: NDArray[np.float32], multiple: int, scale: int) -> NDArray[np.float32]:
    """What `models.restore_whole` does, in an engine: one untiled pass over a (3, H, W) image, clipped.

    A value that is infinite comes out as one that is no number: clipped it would look sound.

    Raises:
        GateError: The engine's output has another size.
    """
    height, width = image.shape[1:]
    padded = np.pad(image, ((0, 0), (0, -height % multiple), (0, -width % multiple)), mode="edge")
    restored = engine.run(np.ascontiguousarray(padded[None]))
    wanted = (1, 3, padded.shape[1] * scale, padded.shape[2] * scale)
    if restored.shape != wanted:
        raise GateError(f"the exported network turns {padded.shape} into {restored.shape}, not into {wanted}")
    restored = np.where(np.isfinite(restored), restored, np.float32(np.nan))
    return np.clip(restored[0, :, : height * scale, : width * scale], 0.0, 1.0)


def compare(network: Network, engine: Engine, task: Task, pairs: Sequence[ValidationPair]) -> Parity:
    """Run a network and an engine on every pair and score both; nothing is judged here."""
    gate = Gate("torch", lambda image: restore_whole(network, image), task, pairs)
    return gate.check(whole(engine, network.multiple, network.scale))


def require_parity(parity: Parity, step: str, precision: str = "fp32") -> None:
    """Refuse a step that changed the images.

    Args:
        parity: What `compare` found.
        step: For the message.
        precision: What the engine's graph computes in, one of `tasks.parity.BOUNDS`.

    Raises:
        GateError: The step is beyond the bounds of its precision, or its output is not finite.
    """
    if not verdict(parity, precision):
        return
    bound = BOUNDS[precision]
    allowed = "" if bound.max_difference is None else f"  (allowed {bound.max_difference:.6f})"
    raise GateError(
        f"{step} does not compute what the trained network computes:\n"
        f"  largest difference  {parity.max_difference:.6f}{allowed}\n"
        f"  dB before -> after  {parity.before.restored_db:.4f} -> {parity.after.restored_db:.4f}  "
        f"(allowed loss {bound.db_lost:g} dB)\n"
        "the bundle was not written; please report this with the genotype"
    )


def images_hash(images: Sequence[NDArray[np.float32]]) -> str:
    """First 16 digits of the SHA-256 over shapes and values."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(str(image.shape).encode())
        digest.update(image.tobytes())
    return digest.hexdigest()[:16]
