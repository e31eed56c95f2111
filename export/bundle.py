"""Putting a bundle together: ONNX, manifest, model card and a sample pair."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime import Bundle, Manifest, Picture, encode_image, write_bundle


@dataclass(frozen=True)
class Card:
    """What the model card says beyond the manifest.

    Attributes:
        data: Where the training images come from.
        licence: Terms of the weights.
        limits: What not to expect.
        command: How to make the bundle again.
    """

    data: str
    licence: str
    limits: str
    command: str


def sample_pair(degraded: NDArray[np.float32], restored: NDArray[np.float32], scale: int) -> dict[str, bytes]:
    """`sample-degraded.png` and `sample-restored.png` from (3, H, W) arrays; the middle, 192 output pixels a side."""
    rows, columns = (min(192 // scale, side) for side in degraded.shape[1:])
    top, left = (degraded.shape[1] - rows) // 2, (degraded.shape[2] - columns) // 2
    before = degraded[:, top : top + rows, left : left + columns]
    after = restored[:, top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
    return {
        "sample-degraded.png": _png(before),
        "sample-restored.png": _png(after),
    }


def compose_bundle(folder: Path, manifest: Manifest, onnx: bytes, card: Card, sample: dict[str, bytes]) -> Bundle:
    """Write the bundle; replaces one of the same name.

    Raises:
        BundleError: The folder holds something else, or cannot be written.
    """
    files = {manifest.model_file: onnx, "card.md": card_text(manifest, card).encode(), **sample}
    return write_bundle(folder, manifest, files)


def card_text(manifest: Manifest, card: Card) -> str:
    """The model card, in Markdown."""
    latency = "\n".join(
        f"| {r.target} | {r.device} | {r.width}x{r.height} | {r.budget_ms:.4g} | {r.predicted_ms:.4g} "
        f"| {'not timed' if r.measured_ms is None else f'{r.measured_ms:.4g}'} |"
        for r in manifest.latency
    )
    quality = "\n".join(
        f"| {r.step} | {r.dataset} | {r.metric} | {r.degraded_db:.2f} | {r.restored_db:.2f} | {r.images} |"
        for r in manifest.quality
    )
    scale = f" x{manifest.scale}" if manifest.scale > 1 else ""
    return f"""# {manifest.name}

Task: {manifest.task}{scale}. Method: {manifest.method}. Parameters: {manifest.parameters}.
Genotype: {manifest.lineage.genotype}.

## Speed

| target | device | size | budget ms | predicted ms | measured ms |
|---|---|---|---|---|---|
{latency}

## Quality

| step | images | metric | input dB | restored dB | count |
|---|---|---|---|---|---|
{quality}

## Data

{card.data}

## Limits

{card.limits}

## Licence

{card.licence}

## Made with

    {card.command}
"""


def _png(image: NDArray[np.float32]) -> bytes:
    return encode_image(Picture(rgb=np.clip(image, 0.0, 1.0).astype(np.float32)), "png")
