import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.engine import open_engine
from runtime.errors import EngineError, ImageError
from runtime.stitch import Stitcher, band_bytes, run_tiled
from runtime.target import Target
from runtime.tiles import SizeContract, cut_tile, plan_tiles

FloatArray = NDArray[np.float32]


def contract(**fields: object) -> SizeContract:
    defaults: dict[str, object] = {"multiple": 4, "minimum": 8, "tile": (16, 24), "overlap": 6, "scale": 1}
    return SizeContract.model_validate(defaults | fields)


def upscale(scale: int) -> Callable[[FloatArray], FloatArray]:
    """The identity, each pixel repeated `scale` times to each side."""
    return lambda batch: batch.repeat(scale, axis=2).repeat(scale, axis=3)


def noise(height: int, width: int, channels: int = 3) -> FloatArray:
    return np.random.default_rng(height * 1000 + width).random((channels, height, width), dtype=np.float32)


# Every height from 1 to 70 against a width that goes through all of them in another order, and the extremes.
SIZES = [(side, (side * 37) % 70 + 1) for side in range(1, 71)] + [
    (1, 1),
    (1, 70),
    (70, 1),
    (70, 70),
    (16, 24),
    (17, 25),
]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_identity_comes_back_at_every_size(scale: int) -> None:
    for height, width in SIZES:
        image = noise(height, width)
        result = run_tiled(image, contract(scale=scale), upscale(scale))
        assert result.shape == (3, scale * height, scale * width)
        assert result.dtype == np.float32
        expected = upscale(scale)(image[None])[0]
        assert np.abs(result - expected).max() < 1e-6, (height, width)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_identity_comes_back_under_every_contract(data: st.DataObject) -> None:
    multiple = data.draw(st.integers(1, 8), label="multiple")
    minimum = data.draw(st.integers(1, 12), label="minimum")
    tiles = st.integers(1, 5).map(lambda n: n * multiple).filter(lambda side: side >= minimum)
    tile = data.draw(st.tuples(tiles, tiles).filter(lambda t: min(t) >= multiple), label="tile")
    overlap = data.draw(st.integers(0, min(tile) - multiple), label="overlap")
    margin = data.draw(st.none() | st.integers(0, overlap // 2), label="margin")
    scale = data.draw(st.integers(1, 3), label="scale")
    sizes = SizeContract(multiple=multiple, minimum=minimum, tile=tile, overlap=overlap, scale=scale, margin=margin)
    image = noise(data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50)), channels=1)
    result = run_tiled(image, sizes, upscale(scale))
    assert np.abs(result - upscale(scale)(image[None])[0]).max() < 1e-6


RADIUS = 3


def _worst(make_model: Callable[..., bytes], sizes: SizeContract, height: int, width: int) -> float:
    """Largest difference between tiled and whole, for a convolution of radius 3 in ONNX Runtime."""
    engine = open_engine(make_model(radius=RADIUS, scale=sizes.scale), Target("cpu", "onnxruntime", "fp32", 1))
    image = noise(height, width)
    return float(np.abs(run_tiled(image, sizes, engine.run) - engine.run(image[None])[0]).max())


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize(
    ("overlap", "margin"),
    [
        (4 * RADIUS, None),  # a quarter of the overlap is the radius
        (2 * RADIUS, RADIUS),  # the least overlap that can be exact
        (2 * RADIUS + 1, RADIUS),  # the receptive field
        (5 * RADIUS, RADIUS),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(70, 61), (33, 20), (25, 90)])
def test_tiles_equal_the_whole_where_the_trim_covers_the_radius(
    make_model: Callable[..., bytes], overlap: int, margin: int | None, scale: int, height: int, width: int
) -> None:
    sizes = contract(multiple=1, tile=(24, 24), overlap=overlap, margin=margin, scale=scale)
    assert sizes.trim == RADIUS
    assert _worst(make_model, sizes, height, width) < 2e-6


def test_planted_fault_without_overlap_the_seam_shows(make_model: Callable[..., bytes]) -> None:
    sizes = contract(multiple=1, tile=(24, 24), overlap=0)
    assert _worst(make_model, sizes, 70, 61) > 1 / 255


def test_planted_fault_a_margin_one_pixel_short_shows(make_model: Callable[..., bytes]) -> None:
    sizes = contract(multiple=1, tile=(24, 24), overlap=2 * RADIUS, margin=RADIUS - 1)
    assert _worst(make_model, sizes, 70, 61) > 1e-4


def test_a_strided_model_is_exact_where_the_picture_is_on_its_grid(make_model: Callable[..., bytes]) -> None:
    sizes = contract(multiple=2, tile=(24, 24), overlap=10, margin=4)
    engine = open_engine(make_model(radius=RADIUS, stride=2), Target("cpu", "onnxruntime", "fp32", 1))
    image = noise(70, 62)
    whole = engine.run(image[None])[0]
    assert np.abs(run_tiled(image, sizes, engine.run) - whole).max() < 2e-6
    # planted fault: tiles out of phase with the picture
    odd = contract(multiple=1, tile=(23, 24), overlap=10, margin=4)
    with pytest.raises(EngineError):
        run_tiled(image, odd, engine.run)
    shifted = contract(multiple=1, tile=(24, 24), overlap=9, margin=4)
    assert np.abs(run_tiled(image, shifted, engine.run) - whole).max() > 1 / 255


def test_a_model_that_differs_from_tile_to_tile_leaves_no_step() -> None:
    # A stand-in for global pooling: each tile is answered with its own mean; the picture is a horizontal ramp.
    image = np.repeat(np.linspace(0, 1, 96, dtype=np.float32)[None, None], 32, axis=1)

    def mean(batch: FloatArray) -> FloatArray:
        return np.full_like(batch, batch.mean())

    def largest_step(overlap: int) -> float:
        sizes = contract(multiple=1, tile=(32, 32), overlap=overlap)
        return float(np.abs(np.diff(run_tiled(image, sizes, mean), axis=2)).max())

    assert largest_step(16) < 0.03
    assert largest_step(0) > 0.2  # planted fault: nothing to blend over


def test_short_sides_are_reflected_and_too_short_ones_repeat_their_edge() -> None:
    seen: list[FloatArray] = []

    def run(batch: FloatArray) -> FloatArray:
        seen.append(batch)
        return batch

    row = np.asarray([[[1, 2, 3, 4, 5]]], dtype=np.float32)
    run_tiled(row, contract(tile=(16, 16)), run)
    np.testing.assert_array_equal(seen[0][0, 0], [[1, 2, 3, 4, 5, 4, 3, 2]] * 8)
    run_tiled(row[..., :3], contract(tile=(16, 16)), run)
    np.testing.assert_array_equal(seen[1][0, 0, 0], [1, 2, 3, 3, 3, 3, 3, 3])


def test_batches_are_contiguous_and_all_of_one_shape() -> None:
    shapes = set()

    def run(batch: FloatArray) -> FloatArray:
        assert batch.flags.c_contiguous
        shapes.add(batch.shape)
        return batch

    run_tiled(noise(67, 53), contract(), run)
    assert shapes == {(1, 3, 16, 24)}


def test_the_checkpoint_is_called_before_each_tile_and_may_stop_the_work() -> None:
    calls: list[str] = []

    def checkpoint() -> None:
        calls.append("checkpoint")
        if len(calls) > 4:
            raise TimeoutError("deadline")

    def run(batch: FloatArray) -> FloatArray:
        calls.append("run")
        return batch

    with pytest.raises(TimeoutError, match="deadline"):
        run_tiled(noise(70, 70), contract(), run, checkpoint)
    assert calls == ["checkpoint", "run", "checkpoint", "run", "checkpoint"]


def test_a_model_of_another_scale_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="does not fit its model"):
        run_tiled(noise(20, 20), contract(scale=2), upscale(1))


@pytest.mark.parametrize(
    "image", [np.zeros((3, 4), np.float32), np.zeros((3, 4, 4), np.float64), np.zeros((3, 0, 4), np.float32)]
)
def test_an_array_that_is_no_picture_is_refused(image: FloatArray) -> None:
    with pytest.raises(ImageError):
        run_tiled(image, contract(), upscale(1))


def _stitched(image: FloatArray, sizes: SizeContract, order: list[int], threads: int = 1) -> FloatArray:
    """The picture through a blur that reaches over every seam, its tiles put in a given order."""
    height, width = image.shape[1:]
    tiles = plan_tiles(height, width, sizes)
    canvas = np.full(image.shape, np.nan, dtype=np.float32)
    seen: list[tuple[int, int]] = []

    def finish(first: int, rows: FloatArray) -> None:
        seen.append((first, first + rows.shape[1]))
        canvas[:, first : first + rows.shape[1]] = rows

    stitcher = Stitcher(tiles, height, width, sizes, finish)

    def put(index: int) -> None:
        piece = cut_tile(image, tiles[index])
        stitcher.put(index, (piece + np.roll(piece, 1, axis=1) + np.roll(piece, 1, axis=2)) / np.float32(3))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, order))
    assert stitcher.complete
    # Every row once, from top to bottom, and bands instead of the whole.
    assert seen[0][0] == 0
    assert [end for _, end in seen[:-1]] == [begin for begin, _ in seen[1:]]
    assert seen[-1][1] == height
    assert len(seen) == len({tile.top for tile in tiles})
    return canvas


@pytest.mark.parametrize("size", [(70, 61), (17, 90), (16, 24), (41, 26)])
def test_the_order_of_tiles_does_not_change_a_bit(size: tuple[int, int]) -> None:
    sizes = contract(overlap=8)
    image = noise(*size)
    count = len(plan_tiles(*size, sizes))
    ordered = _stitched(image, sizes, list(range(count)))
    assert np.isfinite(ordered).all()
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(count).tolist()
        np.testing.assert_array_equal(_stitched(image, sizes, shuffled), ordered)
    np.testing.assert_array_equal(_stitched(image, sizes, list(range(count))[::-1], threads=4), ordered)


def test_a_tile_is_taken_once() -> None:
    sizes = contract()
    tiles = plan_tiles(40, 60, sizes)
    stitcher = Stitcher(tiles, 40, 60, sizes, lambda first, rows: None)  # noqa: ARG005
    output = np.zeros((3, 16, 24), dtype=np.float32)
    for index in (0, 2):  # one that was used at once, one that waits
        stitcher.put(index, output)
        with pytest.raises(ValueError, match="put before"):
            stitcher.put(index, output)
    assert not stitcher.complete


@pytest.mark.parametrize("size", [(1, 100_000), (64, 5000), (200, 3000)])
def test_the_floats_of_a_row_of_tiles_are_what_is_said(size: tuple[int, int]) -> None:
    sizes = SizeContract(multiple=8, minimum=8, tile=(64, 64), overlap=16, scale=2)
    tiles = plan_tiles(*size, sizes)
    output = np.zeros((3, 2 * tiles[0].height, 2 * tiles[0].width), dtype=np.float32)
    stitcher = Stitcher(tiles, *size, sizes, lambda first, rows: None)  # noqa: ARG005
    tracemalloc.start()
    try:
        for index in range(len(tiles) - 1):
            stitcher.put(index, output)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    said = band_bytes(*size, sizes)
    # Beside it: what the rows keep of each other, and small arrays. A band of a whole tile's height would be 8 times as
    # much for the picture of one row.
    assert said <= most < 1.4 * said + 1_000_000
