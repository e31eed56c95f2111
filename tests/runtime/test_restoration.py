"""A picture through a network: the same whatever the order, without seams, in little memory."""

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime import EngineError, Picture, SizeContract, Target, TiledRestoration, encode_image, open_engine
from tests.memory import peak_growth_mb

MakeModel = Callable[..., bytes]
PLAIN = Target("cpu", "onnxruntime", "fp32", 1)
RADIUS = 3


def _picture(height: int, width: int, channels: int = 3, depth: int = 8, seed: int = 0) -> Picture:
    pixels = np.random.default_rng([seed, height]).integers(0, 2**depth, (height, width, channels))
    if channels in {2, 4}:
        pixels[height // 4 : height // 2, ::2, -1] = 0
    return Picture(pixels.astype(np.uint8 if depth == 8 else np.uint16), icc=b"profile", exif=b"exif")


def _contract(**fields: object) -> SizeContract:
    defaults = {"multiple": 1, "minimum": 4, "tile": (24, 24), "overlap": 2 * RADIUS, "margin": RADIUS, "scale": 1}
    return SizeContract.model_validate(defaults | fields)


def _restored(
    picture: Picture, sizes: SizeContract, model: bytes, order: int | None = None, threads: int = 1
) -> Picture:
    engine = open_engine(model, PLAIN)
    restoration = TiledRestoration(picture, sizes)
    indices = list(range(len(restoration.tiles)))
    if order is not None:
        np.random.default_rng(order).shuffle(indices)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda i: restoration.put(i, engine.run(restoration.cut(i))[0]), indices))
    return restoration.result()


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [1, 2])
def test_tiles_equal_one_untiled_pass(make_model: MakeModel, scale: int, channels: int, depth: int) -> None:
    model = make_model(radius=RADIUS, scale=scale)
    picture = _picture(70, 61, channels, depth)
    tiled = _restored(picture, _contract(scale=scale), model)
    whole = _restored(picture, _contract(scale=scale, tile=(70, 61)), model)
    assert tiled.pixels.shape == (70 * scale, 61 * scale, channels)
    assert (tiled.depth, tiled.icc, tiled.exif) == (depth, b"profile", b"exif")
    one_level_of_8_bits = 1 if depth == 8 else 257
    assert np.abs(tiled.pixels.astype(int) - whole.pixels).max() <= one_level_of_8_bits


def test_planted_fault_with_too_small_an_overlap_the_seam_shows(make_model: MakeModel) -> None:
    model, picture = make_model(radius=RADIUS), _picture(70, 61)
    whole = _restored(picture, _contract(tile=(70, 61)), model)
    short = _restored(picture, _contract(overlap=2, margin=1), model)
    assert np.abs(short.pixels.astype(int) - whole.pixels).max() > 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_neither_order_nor_threads_change_a_bit(make_model: MakeModel, channels: int) -> None:
    model, picture, sizes = make_model(radius=RADIUS), _picture(70, 61, channels), _contract(overlap=9, margin=None)
    expected = _restored(picture, sizes, model).pixels
    for seed in range(3):
        np.testing.assert_array_equal(_restored(picture, sizes, model, order=seed, threads=4).pixels, expected)


def test_tiles_are_batches_of_one_shape() -> None:
    restoration = TiledRestoration(_picture(70, 61), _contract(multiple=4, minimum=8))
    assert restoration.tile_shape == (24, 24)
    for index in range(len(restoration.tiles)):
        batch = restoration.cut(index)
        assert batch.shape == (1, 3, 24, 24)
        assert batch.dtype == np.float32
        assert batch.flags.c_contiguous
        assert 0 <= batch.min() <= batch.max() <= 1


def test_a_picture_smaller_than_a_tile_is_one_tile(make_model: MakeModel) -> None:
    for height, width in ((1, 1), (1, 20), (3, 3), (23, 5)):
        picture = _picture(height, width)
        assert len(TiledRestoration(picture, _contract()).tiles) == 1
        np.testing.assert_array_equal(
            _restored(picture, _contract(), make_model(kernel="identity")).pixels, picture.pixels
        )


def _output(*shape: int, value: float = 0.5) -> NDArray[np.float32]:
    return np.full(shape, value, dtype=np.float32)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (_output(3, 24, 23), "does not fit its model"),
        (_output(1, 3, 24, 24), "does not fit its model"),
        (_output(1, 24, 24), "1 channels, not 3"),
        (_output(3, 24, 24, value=np.nan), "not numbers"),
        (_output(3, 24, 24, value=-np.inf), "not numbers"),
    ],
)
def test_an_output_that_cannot_be_used_is_an_error(output: NDArray[np.float32], message: str) -> None:
    restoration = TiledRestoration(_picture(70, 61), _contract(), "The model of 'x' on y")
    with pytest.raises(EngineError, match=f"The model of 'x' on y .*{message}"):
        restoration.put(0, output)
    spoiled = _output(3, 24, 24)
    spoiled[1, 2, 3] = np.inf
    with pytest.raises(EngineError, match="not numbers"):
        restoration.put(0, spoiled)
    restoration.put(0, _output(3, 24, 24))


def test_there_is_no_result_before_the_last_tile() -> None:
    restoration = TiledRestoration(_picture(24, 40), _contract())
    restoration.put(0, _output(3, 24, 24))
    with pytest.raises(EngineError, match="not restored yet"):
        restoration.result()
    restoration.put(1, _output(3, 24, 24))
    assert (restoration.result().pixels == 128).all()  # a half is rounded up


# The bound of the service: weights (none here) + 6 x (input + output, 8 bits a channel) + a constant.
CONSTANT_MB = 64
PREPARATION = """
import sys
import numpy as np
from runtime import ImageLimits, Picture, SizeContract, TiledRestoration, decode_image, encode_image
from runtime.stitch import run_tiled

scale = int(sys.argv[2])
data = open(sys.argv[1], "rb").read()
size = SizeContract(multiple=4, minimum=4, tile=(512, 512), overlap=32, scale=scale)

def run(tile):
    return tile.repeat(scale, axis=-2).repeat(scale, axis=-1)
"""
IN_TILES = """
picture = decode_image(data, ImageLimits(max_bytes=2**30))
restoration = TiledRestoration(picture, size)
for index in range(len(restoration.tiles)):
    restoration.put(index, run(restoration.cut(index))[0])
encode_image(restoration.result(), "png")
"""
IN_FLOATS = """
picture = decode_image(data, ImageLimits(max_bytes=2**30))
encode_image(Picture.from_float(np.clip(run_tiled(picture.rgb, size, run), 0, 1)), "png")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "channels", "scale", "dtype"),
    [
        (4000, 6000, 3, 1, np.uint8),
        (4000, 6000, 4, 1, np.uint8),
        (2000, 2000, 3, 4, np.uint8),
        (4000, 6000, 3, 1, np.uint16),
    ],
)
def test_large_pictures_keep_to_the_bound(
    tmp_path: Path, height: int, width: int, channels: int, scale: int, dtype: type
) -> None:
    # Noise in small repeated patches: as hard to pack as a photograph, quick to make.
    patch = np.random.default_rng(0).integers(0, 256, (500, 500, channels), dtype=np.uint8).astype(dtype)
    patch = patch * patch.dtype.type(np.iinfo(dtype).max // 255)
    pixels = np.tile(patch, (height // 500, width // 500, 1))
    if channels == 4:
        pixels[height // 4 : height // 2, :, 3] = 0
    path = tmp_path / "large.png"
    path.write_bytes(encode_image(Picture(pixels), "png"))
    moved = height * width * channels * (1 + scale**2) / 2**20
    assert peak_growth_mb(PREPARATION, IN_TILES, str(path), str(scale)) < 6 * moved + CONSTANT_MB
    if scale == 4:
        assert peak_growth_mb(PREPARATION, IN_FLOATS, str(path), str(scale)) > 6 * moved  # planted fault


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_freed_with_their_last_reference(channels: int) -> None:
    """Not by the garbage collector, which comes by when many small things were made, not when large ones were."""
    gc.disable()
    try:
        picture = _picture(40, 50, channels)
        restoration = TiledRestoration(picture, _contract())
        for index in range(len(restoration.tiles)):
            restoration.put(index, restoration.cut(index)[0])
        result = restoration.result()
        held = [weakref.ref(picture.pixels), weakref.ref(result.pixels)]
        del picture, restoration, result
        assert [reference() for reference in held] == [None, None]

        cycle = [np.zeros(9)]
        cycle.append(cycle)  # type: ignore[arg-type]
        kept = weakref.ref(cycle[0])
        del cycle
        assert kept() is not None  # planted fault
    finally:
        gc.enable()
