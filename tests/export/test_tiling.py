"""The chosen overlap is invisible where it can be, and no smaller one would do."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export import choose_tiling, run_whole
from export.tiling import INVISIBLE
from models import Network, receptive_radius
from runtime import Engine, SizeContract, run_tiled
from tasks import dead_leaves

MakeNetwork = Callable[..., Network]
OpenNetwork = Callable[[Network], Engine]
LEVEL = 1 / 255


def picture(side: int = 150) -> NDArray[np.float32]:
    leaves = dead_leaves(np.random.default_rng(3), side)
    return np.ascontiguousarray(leaves.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def mirrored(side: int) -> NDArray[np.float32]:
    """The picture, continued by its mirror image to side x side."""
    missing = max(0, side - 150)
    return np.ascontiguousarray(
        np.pad(picture(), ((0, 0), (0, missing), (0, missing)), mode="symmetric")[:, :side, :side]
    )


def difference(engine: Engine, image: NDArray[np.float32], contract: SizeContract) -> float:
    tiled = np.clip(run_tiled(image, contract, engine.run), 0, 1)
    return float(np.abs(tiled - run_whole(engine, image, contract.multiple, contract.scale)).max())


def far_seeing(make_network: MakeNetwork, scale: int = 1, **values: object) -> Network:
    """Large kernels everywhere, and a residual that matters."""
    plain = {"convolutions": ("conv5x5",), "attentions": ("identity",), "damped": 0.1}
    return make_network(scale, **{**plain, **values})


@pytest.mark.parametrize("scale", [1, 2])
def test_seams_of_the_chosen_overlap_are_invisible_in_any_picture(
    make_network: MakeNetwork, open_network: OpenNetwork, scale: int
) -> None:
    network = far_seeing(make_network, scale)
    engine = open_network(network)
    tiling = choose_tiling(engine, picture(), tile=(96, 96), multiple=network.multiple, scale=scale)
    assert tiling.max_difference <= INVISIBLE == LEVEL
    assert tiling.contract.scale == scale
    assert tiling.contract.tile == (96, 96)
    # What it says is what shows where tiles share no more than the overlap.
    exact = 2 * 96 - tiling.contract.overlap
    assert difference(engine, mirrored(exact), tiling.contract) == pytest.approx(tiling.max_difference, abs=1e-6)
    # Also on larger pictures, and where the last tile is shifted inwards. Pictures whose sides are no multiples are
    # padded differently by the two, so they are no comparison at their far edge.
    for side in (144, 200, 264):
        assert side % network.multiple == 0
        assert difference(engine, mirrored(side), tiling.contract) <= 1.5 * LEVEL, side


def test_it_does_not_overlap_more_than_needed(make_network: MakeNetwork, open_network: OpenNetwork) -> None:
    network = far_seeing(make_network)
    engine = open_network(network)
    tiling = choose_tiling(engine, picture(), tile=(96, 96), multiple=network.multiple, scale=1)
    assert tiling.max_difference <= LEVEL
    assert tiling.contract.overlap > 16
    # The planted fault: less overlap on a picture of exactly two tiles a side shows its seams.
    less = tiling.contract.model_copy(update={"overlap": tiling.contract.overlap // 2})
    assert difference(engine, mirrored(192 - less.overlap), less) > LEVEL


def test_a_network_that_sees_little_needs_little(make_network: MakeNetwork, open_network: OpenNetwork) -> None:
    network = make_network(1, channels=(8,), convolutions=("conv3x3",), attentions=("identity",), unshuffle=1)
    radius = receptive_radius(network)
    assert radius is not None
    assert radius <= 4
    tiling = choose_tiling(open_network(network), picture(), tile=(64, 64), multiple=1, scale=1)
    assert tiling.contract.overlap == 16
    assert tiling.max_difference < 1e-5  # the radius fits into what is thrown away


def test_squeeze_excitation_gets_the_best_overlap_and_says_how_good_it_is(
    make_network: MakeNetwork, open_network: OpenNetwork
) -> None:
    network = far_seeing(make_network, attentions=("squeeze_excitation",), damped=1.0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "excite" in name:
                parameter.mul_(8.0)  # gates that depend on the picture a good deal
    tiling = choose_tiling(open_network(network), picture(), tile=(96, 96), multiple=network.multiple, scale=1)
    assert tiling.max_difference > LEVEL
    assert tiling.contract.overlap in (16, 24, 32, 48)


@pytest.mark.parametrize("tile", [(16, 16), (16, 64), (64, 24)])
def test_small_and_oblong_tiles_get_what_fits(
    make_network: MakeNetwork, open_network: OpenNetwork, tile: tuple[int, int]
) -> None:
    network = make_network(1)
    tiling = choose_tiling(open_network(network), picture(20), tile=tile, multiple=network.multiple, scale=1)
    assert tiling.contract.tile == tile
    assert 0 < tiling.contract.overlap <= min(tile) // 2
