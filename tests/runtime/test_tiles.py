import numpy as np
import pytest
from pydantic import ValidationError

from runtime.tiles import SizeContract, Tile, axis_weights, plan_tiles

SIDES = [*range(1, 71)]


def contract(**fields: object) -> SizeContract:
    defaults: dict[str, object] = {"multiple": 4, "minimum": 8, "tile": (16, 24), "overlap": 6, "scale": 1}
    return SizeContract.model_validate(defaults | fields)


@pytest.mark.parametrize("side", SIDES)
def test_the_plan_keeps_its_promises(side: int) -> None:
    sizes = contract()
    tiles = plan_tiles(side, 2 * side, sizes)
    for tile, length, start, extent in [
        (16, side, [t.top for t in tiles], {t.height for t in tiles}),
        (24, 2 * side, [t.left for t in tiles], {t.width for t in tiles}),
    ]:
        (size,) = extent  # all tiles have the same shape
        assert size % sizes.multiple == 0
        assert size >= sizes.minimum
        starts = sorted(set(start))
        if length <= tile:
            assert starts == [0]
            assert length <= size < max(length, sizes.minimum) + sizes.multiple
            continue
        assert size == tile
        assert starts[0] == 0
        assert 0 <= starts[-1] + size - length < sizes.multiple  # ends with the picture, rounded up to the grid
        gaps = np.diff(starts)
        assert (gaps <= size - sizes.overlap).all()  # neighbours share at least the overlap
        assert all(begin % sizes.multiple == 0 for begin in starts)


def test_a_plan_is_written_out() -> None:
    sizes = contract(multiple=1, minimum=1, tile=(10, 10), overlap=2)
    assert plan_tiles(10, 19, sizes) == [Tile(0, 0, 10, 10), Tile(0, 8, 10, 10), Tile(0, 9, 10, 10)]
    assert plan_tiles(3, 18, sizes) == [Tile(0, 0, 3, 10), Tile(0, 8, 3, 10)]
    assert plan_tiles(1, 1, contract()) == [Tile(0, 0, 8, 8)]


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("overlap", [0, 1, 3, 8])
def test_weights_sum_to_one_and_vanish_at_cut_borders(overlap: int, scale: int) -> None:
    sizes = contract(multiple=1, tile=(16, 16), overlap=overlap, scale=scale)
    starts = sorted({tile.top for tile in plan_tiles(61, 16, sizes)})
    weights = axis_weights(starts, 16, sizes)
    total = np.zeros(61 * scale)
    for start, weight in weights.items():
        total[start * scale : (start + 16) * scale] += weight
        cut = sizes.trim * scale
        if cut and start > 0:
            assert not weight[:cut].any()
        if cut and start < starts[-1]:
            assert not weight[-cut:].any()
    np.testing.assert_allclose(total, 1.0, atol=2e-7)
    assert weights[0][0] == 1.0  # the border of the picture itself is no cut


def test_the_middle_of_the_overlap_is_a_ramp() -> None:
    sizes = contract(multiple=1, tile=(24, 24), overlap=16)
    weights = axis_weights([0, 8], 24, sizes)
    shared = weights[0][8:24]
    np.testing.assert_allclose(shared[:4], 1.0)
    np.testing.assert_allclose(np.diff(shared[4:12]), -0.125, atol=1e-6)
    np.testing.assert_allclose(shared[12:], 0.0)
    np.testing.assert_allclose(weights[8][:16], shared[::-1], atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"multiple": 0},
        {"minimum": 0},
        {"scale": 0},
        {"overlap": -1},
        {"overlap": 16},
        {"overlap": 13},  # leaves less than one multiple
        {"tile": (18, 24)},  # not a multiple
        {"tile": (4, 24)},  # below the minimum
        {"overlap": 6, "margin": 4},  # the margins of two tiles leave a hole
        {"margin": -1},
        {"unknown": 1},
    ],
)
def test_a_contract_that_cannot_be_kept_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        contract(**fields)


def test_a_contract_survives_json() -> None:
    sizes = contract(margin=2)
    assert SizeContract.model_validate_json(sizes.model_dump_json()) == sizes
