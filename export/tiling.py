"""How far tiles must overlap so that nobody can tell that there were tiles: measured, not guessed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.gates import run_whole
from runtime import Engine, SizeContract, run_tiled

INVISIBLE = 1 / 255


@dataclass(frozen=True)
class Tiling:
    """A size contract and the largest difference of any pixel between tiled and untiled, in [0, 1]."""

    contract: SizeContract
    max_difference: float


def choose_tiling(
    engine: Engine, image: NDArray[np.float32], *, tile: tuple[int, int], multiple: int, scale: int
) -> Tiling:
    """Take the smallest overlap whose result differs from an untiled pass by at most one grey level.

    The receptive radius bounds the overlap from above, but a trained network hardly looks at the edge of its field,
    so far less is enough. A network with squeeze-excitation sees the whole tile and is never exactly equal; it gets
    the overlap with the smallest difference, and the bundle says how large that is.

    Args:
        engine: The exported network.
        image: (3, H, W), degraded; repeated by reflection where it is too small for four tiles.
        tile: (height, width), multiples of `multiple`.
        multiple: Of the network.
        scale: Of the network.
    """
    best: Tiling | None = None
    limit = min(tile) // 2
    for overlap in (16, 24, 32, 48, 64, 96):
        if overlap > limit and best is not None:
            break
        contract = SizeContract(
            multiple=multiple, minimum=multiple, tile=tile, overlap=min(overlap, limit), scale=scale
        )
        # Exactly as large as two tiles a side: on a smaller picture the last tile shifts inwards, tiles share more
        # than the overlap, and half of each seam is averaged away.
        height, width = (side + (side - contract.overlap) // multiple * multiple for side in tile)
        large = _cut(image, height, width)
        whole = run_whole(engine, large, multiple, scale)
        tiled = np.clip(run_tiled(large, contract, engine.run), 0.0, 1.0)
        found = Tiling(contract, float(np.abs(tiled - whole).max()))
        if best is None or found.max_difference < best.max_difference:
            best = found
        if found.max_difference <= INVISIBLE:
            return found
    if best is None:
        raise ValueError(f"tile {tile} is too small to overlap")
    return best


def _cut(image: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """The image's (3, height, width) corner, mirrored beyond its own end."""
    rows, columns = max(0, height - image.shape[1]), max(0, width - image.shape[2])
    return np.pad(image, ((0, 0), (0, rows), (0, columns)), mode="symmetric")[:, :height, :width]
