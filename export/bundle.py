"""Putting a bundle together: graphs, engines, manifest, model card and a sample pair."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.card import CARD_NAME, card_text, read_card
from runtime import Bundle, Card, Manifest, Picture, encode_image, write_bundle

__all__ = ["card_of", "compose_bundle", "extend_bundle", "sample_pair"]


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


def compose_bundle(
    folder: Path, manifest: Manifest, models: Mapping[str, bytes], card: Card, sample: Mapping[str, bytes]
) -> Bundle:
    """Write a bundle; replaces one of the same name.

    Args:
        folder: Where.
        manifest: Names every file of `models` as a graph or an engine; its `card` is replaced by `card`.
        models: File name to content, graphs and engines.
        card: The prose of the model card.
        sample: See `sample_pair`.

    Raises:
        BundleError: The folder holds something else, the files do not fit the manifest, or it cannot be written.
    """
    complete = manifest.model_copy(update={"card": card})
    files = {**models, CARD_NAME: card_text(complete, card).encode(), **sample}
    return write_bundle(folder, complete, files)


def extend_bundle(bundle: Bundle, manifest: Manifest, files: Mapping[str, bytes], folder: Path | None = None) -> Bundle:
    """Write a bundle again with other graphs and engines; what is no graph, engine or card stays as it is.

    A graph or engine of the old bundle stays if the new manifest names it and `files` does not bring it anew. The card
    is written again from the new manifest, with the old prose unless the new manifest brings its own.

    Args:
        bundle: The old one.
        manifest: Of the new one.
        files: File name to content of what is new.
        folder: Where; the old bundle's own folder if None.

    Raises:
        BundleError: As in `compose_bundle`, or if a kept file was changed since the old bundle was loaded.
    """
    obsolete = {*bundle.manifest.needed, CARD_NAME, *files} - ({*manifest.needed} - {*files})
    kept = {name: bundle.read(name) for name in bundle.manifest.files if name not in obsolete}
    card = manifest.card or card_of(bundle)
    complete = manifest.model_copy(update={"card": card})
    content = {**kept, **files, CARD_NAME: card_text(complete, card).encode()}
    return write_bundle(bundle.folder if folder is None else folder, complete, content)


def card_of(bundle: Bundle) -> Card:
    """The prose of a bundle's card, from its manifest; in a bundle of schema 1 from the card itself.

    Raises:
        BundleError: If a section of the card is missing.
    """
    return bundle.manifest.card or read_card(bundle.read(CARD_NAME).decode(), str(bundle.folder / CARD_NAME))


def _png(image: NDArray[np.float32]) -> bytes:
    return encode_image(Picture.from_float(image.astype(np.float32)), "png")
