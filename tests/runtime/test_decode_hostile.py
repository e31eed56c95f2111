"""Whatever the bytes are: a picture or an `ImageError`, within the limits."""

import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from runtime.decode import decode_image
from runtime.errors import ImageError
from runtime.lossless import png_bytes, tiff_bytes
from runtime.picture import ImageLimits, Picture
from tests.memory import peak_growth_mb

STATUS = {
    "empty": 400,
    "too_many_bytes": 413,
    "too_many_pixels": 413,
    "not_an_image": 415,
    "unsupported_format": 415,
    "corrupt": 422,
    "animated": 422,
    "unsupported_depth": 422,
    "unsupported_color": 422,
}
# A header that a flipped bit has made large is refused before its pixels cost anything.
LIMITS = ImageLimits(max_pixels=200_000)
DEEP = np.random.default_rng(1).integers(0, 65536, (40, 48, 4), dtype=np.uint16)


def outcome(data: bytes) -> str:
    """`"picture"` or the code of the error; any other exception fails the test."""
    error: ImageError | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # parsers complain about odd tags
        try:
            picture = decode_image(data, LIMITS, keep_metadata=True)
        except ImageError as refusal:
            error = refusal
    if error is not None:
        assert STATUS[error.code] == error.status
        assert str(error)
        return error.code
    assert isinstance(picture, Picture)
    assert 0 < picture.height * picture.width <= LIMITS.max_pixels
    assert picture.rgb.min() >= 0
    assert picture.rgb.max() <= 1
    return "picture"


def _file(kind: str, mode: str, **options: object) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode) if mode != "P" else Image.fromarray(pixels[..., :3]).quantize(16)
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


@cache
def real_files() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    return {
        "PNG": _file("PNG", "RGB", exif=exif),
        "PNG gray": _file("PNG", "L"),
        "PNG palette": _file("PNG", "P", transparency=3),
        "PNG alpha": _file("PNG", "RGBA"),
        "JPEG": _file("JPEG", "RGB", exif=exif),
        "JPEG progressive": _file("JPEG", "RGB", progressive=True),
        "JPEG CMYK": _file("JPEG", "CMYK"),
        "JPEG gray": _file("JPEG", "L"),
        "WebP": _file("WEBP", "RGB"),
        "WebP lossless": _file("WEBP", "RGBA", lossless=True, exif=exif),
        "TIFF": _file("TIFF", "RGB", exif=exif),
        "TIFF deflate": _file("TIFF", "RGB", compression="tiff_deflate"),
        "TIFF LZW": _file("TIFF", "L", compression="tiff_lzw"),
        "TIFF JPEG": _file("TIFF", "RGB", compression="jpeg"),
        "TIFF one bit": _file("TIFF", "1"),
        "TIFF deep": _file("TIFF", "I;16"),
        "TIFF deep colour": tiff_bytes(Picture(DEEP)),
        "PNG deep colour": png_bytes(Picture(DEEP)),
        "PNG deep gray and alpha": png_bytes(Picture(np.ascontiguousarray(DEEP[..., 2:]))),
        "BMP": _file("BMP", "RGB"),
        "BMP palette": _file("BMP", "P"),
        "GIF": _file("GIF", "P"),
    }


NAMES = sorted(real_files())
names = st.sampled_from(NAMES)
thorough = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_sound_before_they_are_broken(name: str) -> None:
    assert outcome(real_files()[name]) == "picture"


@given(st.binary(max_size=300))
@thorough
def test_random_bytes(data: bytes) -> None:
    outcome(data)


@given(
    st.sampled_from(
        [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            b"\xff\xd8\xff\xe0\0\x10JFIF\0",
            b"GIF89a",
            b"II*\0\x08\0\0\0",
            b"MM\0*\0\0\0\x08",
            b"II+\0\x08\0\0\0",
            b"RIFF\x24\0\0\0WEBPVP8 ",
            b"RIFF\x24\0\0\0WEBPVP8X",
            b"RIFF\x24\0\0\0WEBPVP8L",
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0",
            b"BM\x46\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0",
        ]
    ),
    st.binary(max_size=300),
)
@thorough
def test_random_bytes_behind_a_signature(signature: bytes, tail: bytes) -> None:
    outcome(signature + tail)


@given(names, st.floats(0, 1))
@thorough
def test_truncated_files(name: str, part: float) -> None:
    data = real_files()[name]
    outcome(data[: int(part * len(data))])


@given(names, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=8))
@thorough
def test_flipped_bits(name: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(real_files()[name])
    for where, bit in flips:
        data[min(int(where * len(data)), len(data) - 1)] ^= 1 << bit
    outcome(bytes(data))


@given(names, st.integers(0, 120), st.integers(0, 255), st.integers(0, 120), st.integers(0, 255))
@thorough
def test_headers_with_other_bytes(name: str, first: int, a: int, second: int, b: int) -> None:
    data = bytearray(real_files()[name])
    data[first], data[second] = a, b
    outcome(bytes(data))


@given(names, names, st.floats(0, 1), st.floats(0, 1))
@thorough
def test_spliced_files(one: str, other: str, cut: float, resume: float) -> None:
    a, b = real_files()[one], real_files()[other]
    outcome(a[: int(cut * len(a))] + b[int(resume * len(b)) :])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("percent", [25, 50, 99])
def test_a_cut_file_is_corrupt(name: str, percent: int) -> None:
    data = real_files()[name]
    assert outcome(data[: len(data) * percent // 100]) == "corrupt"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("PNG")])
def test_no_flipped_bit_of_a_png_goes_unnoticed(name: str) -> None:
    data = real_files()[name]
    for position in range(8, len(data), 7):
        broken = bytearray(data)
        broken[position] ^= 4
        assert outcome(bytes(broken)) in {"corrupt", "too_many_pixels"}, position


def test_bad_quantisation_tables_are_corrupt() -> None:
    data = bytearray(real_files()["JPEG"])
    data[data.index(b"\xff\xdb") + 4] = 0x3F  # table 15 of unknown precision
    assert outcome(bytes(data)) == "corrupt"


@pytest.mark.parametrize(
    "data", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"BM", b"RIFF\0\0\0\0WEBP"]
)
def test_a_signature_alone_is_no_picture(data: bytes) -> None:
    assert outcome(data) in {"corrupt", "not_an_image"}


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
def test_a_fax_is_refused_because_its_decoder_hides_damage(compression: str) -> None:
    data = _file("TIFF", "1", compression=compression)
    assert outcome(data) == "unsupported_format"
    with pytest.raises(ImageError, match="Fax-compressed TIFF is not read"):
        decode_image(data)


def test_nothing_is_empty() -> None:
    assert outcome(b"") == "empty"


def _png_header(width: int, height: int, *extra: bytes) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\2\0\0\0"
    return b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + body + zlib.crc32(body).to_bytes(4, "big") + b"".join(extra)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def test_a_png_without_pixels_is_corrupt() -> None:
    assert outcome(_png_header(0, 0, _chunk(b"IDAT", zlib.compress(b"")), _chunk(b"IEND", b""))) == "corrupt"


def _webp_canvas(width: int, height: int) -> bytes:
    """A small animated WebP that claims a large canvas, which a decoder is to allocate."""
    frames = [Image.effect_noise((40, 48), 60).convert("RGB") for _ in range(2)]
    file = io.BytesIO()
    frames[0].save(file, format="WEBP", save_all=True, append_images=frames[1:])
    data = file.getvalue()
    assert data[12:16] == b"VP8X"
    return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]


BOMBS = {
    "PNG": _png_header(100_000, 100_000, _chunk(b"IDAT", zlib.compress(b"\0" * 100)), _chunk(b"IEND", b"")),
    "WebP": _webp_canvas(16_000, 16_000),
    "GIF": b"GIF89a" + b"\xff\xff" * 2 + real_files()["GIF"][10:],
    "BMP": real_files()["BMP"][:18] + (2**30).to_bytes(4, "little") + real_files()["BMP"][22:],
}


@pytest.mark.parametrize("name", BOMBS)
def test_huge_headers_are_refused(name: str) -> None:
    assert outcome(BOMBS[name]) == "too_many_pixels"


def _peak_growth_mb(statement: str, data: bytes, tmp_path: Path) -> float:
    """By how much a statement raises the peak memory of a fresh process."""
    (tmp_path / "bomb").write_bytes(data)
    preparation = """
import io, sys
from PIL import WebPImagePlugin
from runtime import ImageError, decode_image
data = open(sys.argv[1], "rb").read()
"""
    work = f"try:\n    {statement}\nexcept (ImageError, OSError):\n    pass"
    return peak_growth_mb(preparation, work, str(tmp_path / "bomb"))


@pytest.mark.parametrize("name", BOMBS)
def test_refusing_a_bomb_takes_no_memory(name: str, tmp_path: Path) -> None:
    assert _peak_growth_mb("decode_image(data)", BOMBS[name], tmp_path) < 20


@pytest.mark.slow
def test_planted_fault_opening_the_bomb_first_would_take_memory(tmp_path: Path) -> None:
    # Pillow checks against a limit of its own as well, far above ours; this bomb stays below it.
    bomb = _webp_canvas(12_000, 12_000)
    statement = "WebPImagePlugin.WebPImageFile(io.BytesIO(data)).load()"
    assert _peak_growth_mb(statement, bomb, tmp_path) > 200
    assert _peak_growth_mb("decode_image(data)", bomb, tmp_path) < 20


def test_pixels_between_our_limit_and_that_of_pillow_neither_pass_nor_warn() -> None:
    bomb = _png_header(11_000, 11_000, _chunk(b"IDAT", b""), _chunk(b"IEND", b""))  # Pillow warns from 89 million on
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            decode_image(bomb)
    assert caught.value.code == "too_many_pixels"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.warns(Image.DecompressionBombWarning):  # planted fault
            Image.open(io.BytesIO(bomb))


def test_a_compressed_text_that_explodes_is_refused() -> None:
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    data = _png_header(1, 1, _chunk(b"zTXt", text), _chunk(b"IDAT", zlib.compress(bytes(4))), _chunk(b"IEND", b""))
    assert len(data) < 300_000
    assert outcome(data) == "corrupt"


def test_a_file_over_the_limit_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(ImageError) as caught:
        decode_image(bytes(101), ImageLimits(max_bytes=100))
    assert (caught.value.code, caught.value.status) == ("too_many_bytes", 413)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File")
def test_threads_do_not_disturb_each_other() -> None:
    files = [real_files()[name] for name in NAMES]
    files += [data[: len(data) // 2] for data in files]
    alone = [outcome(data) for data in files]

    def code(data: bytes) -> str:
        try:
            decode_image(data, LIMITS)
        except ImageError as error:
            return error.code
        return "picture"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(code, files * 5)) == alone * 5
