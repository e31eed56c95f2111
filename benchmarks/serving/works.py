"""The work that every contestant does: bundles, pictures and formats, the same for all."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from runtime.bundle import Bundle
from runtime.bundle_writer import copy_bundle, write_bundle
from runtime.manifest import Manifest
from runtime.records import Lineage
from runtime.tiles import SizeContract

Format = Literal["jpeg", "png"]
FORMATS: tuple[Format, ...] = ("jpeg", "png")

NOTHING_ROUTE, WORK_ROUTE = "/v1/derain", "/v1/denoise"
SIDES: Mapping[str, int] = {"nothing": 16, "short": 256, "long": 480}
"""Sides of the square pictures: `nothing` is over as soon as it began, what is left is the framework's own cost."""


@dataclass(frozen=True)
class Work:
    """One picture through one network.

    Attributes:
        name: Its kind and format, for example `short jpeg`.
        route: Path of the service, and the key of the bundle.
        format: Format of the picture sent and of the one asked for.
        body: The file with the picture.
    """

    name: str
    route: str
    format: Format
    body: str

    def as_json(self) -> dict[str, str]:
        """Plain values; `Work(**values)` is the way back."""
        return asdict(self)


def write_works(folder: Path, zoo: Path, formats: Sequence[Format] = FORMATS) -> list[Work]:
    """Write the pictures; one work a kind and format."""
    photograph = Image.open(zoo / "denoise" / "sample-degraded.png").convert("RGB")
    # The sample is two or three pictures wide at most; mirrored, it goes on without edges that nature does not have.
    tile = np.asarray(photograph)
    works = []
    for kind, side in SIDES.items():
        repeats = [(0, max(0, side - length)) for length in tile.shape[:2]]
        pixels = np.pad(tile, [*repeats, (0, 0)], mode="symmetric")[:side, :side]
        for picture_format in formats:
            body = folder / f"{kind}.{picture_format}"
            body.write_bytes(_packed(pixels, picture_format))
            route = NOTHING_ROUTE if kind == "nothing" else WORK_ROUTE
            works.append(Work(f"{kind} {picture_format}", route, picture_format, str(body)))
    return works


def write_bundles(folder: Path, zoo: Path) -> dict[str, Path]:
    """Write the two bundles: route -> folder; both below `folder`."""
    nothing, denoise = folder / "nothing", folder / "denoise"
    _write_nothing(nothing)
    copy_bundle(Bundle.load(zoo / "denoise"), denoise)
    return {NOTHING_ROUTE: nothing, WORK_ROUTE: denoise}


def _packed(pixels: np.ndarray, picture_format: Format) -> bytes:
    file = io.BytesIO()
    options = {"quality": 92} if picture_format == "jpeg" else {}
    Image.fromarray(pixels).save(file, picture_format.upper(), **options)
    return file.getvalue()


def _write_nothing(folder: Path) -> Bundle:
    """A bundle whose network gives back what it gets."""
    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "weights")
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, "h", "w"]) for name in ("image", "restored")
    ]
    node = helper.make_node("Conv", ["image", "weights"], ["restored"])
    graph = helper.make_graph([node], "nothing", values[:1], values[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    hashes = dict.fromkeys(("genotype", "table", "weights", "onnx", "config"), "0" * 64)
    manifest = Manifest(
        name="nothing",
        task="derain",
        scale=1,
        size=SizeContract(multiple=1, minimum=1, tile=(64, 64), overlap=8, scale=1),
        receptive_field=1,
        lineage=Lineage.model_validate(hashes | {"code_version": "benchmark"}),
        method="by hand",
        parameters=9,
        created="2026-01-01T00:00:00Z",
    )
    return write_bundle(folder, manifest, {"model.onnx": model.SerializeToString()})
