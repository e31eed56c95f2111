"""CMYK by its profile, and which profiles are handed on."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from runtime.color import cmyk_to_rgb
from runtime.decode import decode_image

Encode = Callable[..., bytes]
INK = np.zeros((16, 16, 4), dtype=np.uint8)
INK[:, :8] = (255, 0, 0, 0)
INK[:, 8:] = (0, 255, 255, 0)


def _tag(signature: bytes, body: bytes) -> bytes:
    return signature + bytes(4) + body


def _profile() -> bytes:
    """A press in a few hundred bytes: every ink darkens, cyan towards green, magenta towards orange.

    One table of two steps for each ink (ICC.1:2001, type mft1), from CMYK to Lab.
    """
    table = []
    for node in range(16):
        c, m, y, k = (node >> shift & 1 for shift in (3, 2, 1, 0))
        lightness = 100 - 30 * c - 35 * m - 8 * y - 60 * k
        table += [max(0, lightness) * 255 // 100, 128 - 60 * c + 60 * m, 128 + 20 * c + 30 * m + 60 * y]
    curve = bytes(range(256))
    unit = [65536, 0, 0, 0, 65536, 0, 0, 0, 65536]
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *unit)
    lut += curve * 4 + bytes(min(value, 255) for value in table) + curve * 3
    parts = {
        b"desc": _tag(b"desc", struct.pack(">I", 6) + b"press\0" + bytes(78)),
        b"wtpt": _tag(b"XYZ ", struct.pack(">3i", 63190, 65536, 54061)),
        b"A2B0": lut,
        b"A2B1": lut,
    }
    directory, body, offset = struct.pack(">I", len(parts)), b"", 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        part += bytes(-len(part) % 4)
        directory += name + struct.pack(">II", offset + len(body), len(part))
        body += part
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ", bytes(12), b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + directory + body


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb_by_its_profile(encode: Encode, kind: str) -> None:
    profile = _profile()
    picture = decode_image(encode(Image.fromarray(INK, mode="CMYK"), kind, quality=100, icc_profile=profile))
    assert picture.icc is None  # the pixels are sRGB now
    # The reference: the same profile asked for the colour of each ink, one pixel at a time.
    for column, color in ((3, INK[0, 0]), (12, INK[0, 15])):
        pixel = Image.fromarray(color[None, None], mode="CMYK")
        expected = ImageCms.profileToProfile(
            pixel,
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        assert expected is not None
        assert np.abs(picture.pixels[4, column].astype(int) - np.asarray(expected)[0, 0]).max() <= 4
    # planted fault: the plain formula gives other colours
    plain = decode_image(encode(Image.fromarray(INK, mode="CMYK"), kind, quality=100))
    assert np.abs(picture.pixels.astype(int) - plain.pixels).max() > 50


@pytest.mark.parametrize("damage", ["cut", "noise", "other space"])
def test_with_a_broken_profile_the_plain_formula_is_taken(damage: str) -> None:
    sound = _profile()
    profile = {
        "cut": sound[:140],
        "noise": sound[:132] + np.random.default_rng(0).bytes(len(sound) - 132),
        "other space": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    }[damage]
    image = Image.fromarray(INK, mode="CMYK")
    np.testing.assert_array_equal(np.asarray(cmyk_to_rgb(image, profile)), np.asarray(image.convert("RGB")))
    assert (np.asarray(cmyk_to_rgb(image, sound)) != np.asarray(image.convert("RGB"))).any()
