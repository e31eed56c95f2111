"""What writing a picture costs, and how large it gets: `python -m benchmarks.encoders [--data FOLDER]`.

Photographs are restored by the zoo (denoise, and x2 of their halves) and then written by every encoder that came into
question; the defaults of `runtime/encode.py` and `runtime/lossless.py` follow from the result. Processor time of one
thread, the better of two passes over all pictures, encoders in turns. Rows of `zlib-ng` appear where that package is
installed; `runtime` is what the service uses.
"""

import argparse
import importlib
import io
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from benchmarks.results import Row, write_results
from runtime import Picture, Restorer, encode_image, read_image
from tasks import embedded_photographs

Pixels = NDArray[np.uint8]
Encoder = Callable[[Pixels], int]
TARGET = "cpu-onnxruntime-fp32-1t"
PASSES = 2


def main() -> None:
    """Measure and write `results/encoders.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder of pictures; default: scikit-image's photographs")
    parser.add_argument("--pictures", type=int, default=6, help="at most so many, spread over the folder")
    parser.add_argument("--notes", default="", help="what else the machine was doing")
    arguments = parser.parse_args()
    pictures = _restored(_photographs(arguments.data, arguments.pictures))
    encoders = {**_pillow(), **_differences_then_deflate(), **_ours()}
    best = dict.fromkeys(encoders, float("inf"))
    sizes = dict.fromkeys(encoders, 0)
    for _ in range(PASSES):
        for name, encode in encoders.items():
            start = time.process_time()
            sizes[name] = sum(encode(picture) for picture in pictures)
            best[name] = min(best[name], time.process_time() - start)
    count = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    rows: list[Row] = [
        {"encoder": name, "ms per megapixel": best[name] / count * 1e9, "bytes per pixel": sizes[name] / count}
        for name in encoders
    ]
    command = "python -m benchmarks.encoders" + (" --data FOLDER" if arguments.data else "")
    source = arguments.data.name if arguments.data else "scikit-image"
    said = (
        f"{len(pictures)} pictures from {source}, {count / 1e6:.1f} megapixels restored by the zoo. {arguments.notes}"
    )
    write_results("encoders", command, rows, said.strip())


def _photographs(folder: Path | None, count: int) -> list[Pixels]:
    if folder is None:
        photographs = embedded_photographs()
        return [sample.clean for sample in (*photographs.train, *photographs.valid)][:count]
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".webp", ".jpg"})
    found = [read_image(file) for file in files[:: max(1, len(files) // count)]]
    return [picture.pixels.astype(np.uint8, copy=False) for picture in found if picture.pixels.shape[2] == 3][:count]


def _restored(photographs: list[Pixels]) -> list[Pixels]:
    denoise, double = (Restorer.load(Path("zoo") / name, TARGET) for name in ("denoise", "super-resolution-x2"))
    results = [denoise.restore(Picture(np.ascontiguousarray(pixels))) for pixels in photographs]
    results += [double.restore(Picture(np.ascontiguousarray(pixels[::2, ::2]))) for pixels in photographs]
    return [result.pixels.astype(np.uint8, copy=False) for result in results]


def _pillow() -> dict[str, Encoder]:
    def encoder(kind: str, **options: Any) -> Encoder:
        def encode(pixels: Pixels) -> int:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, kind, **options)
            return file.tell()

        return encode

    found = {f"PNG Pillow level {level}": encoder("PNG", compress_level=level) for level in (0, 1, 2, 3, 4, 6, 9)}
    for name, kind in (("filtered", 1), ("huffman", 2), ("rle", 3)):
        found[f"PNG Pillow level 1 {name}"] = encoder("PNG", compress_level=1, compress_type=kind)
    for name in ("raw", "tiff_lzw", "tiff_deflate"):
        found[f"TIFF Pillow {name}"] = encoder("TIFF", compression=name)
    found["TIFF Pillow tiff_lzw predictor 2"] = encoder("TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    for quality in (75, 85, 90, 95):
        for optimize in (False, True):
            options = {"quality": quality, "subsampling": 0, "optimize": optimize}
            found[f"JPEG {quality}{' optimised' if optimize else ''}"] = encoder("JPEG", **options)
    for method in range(7):
        found[f"WebP lossless method {method}"] = encoder("WEBP", lossless=True, method=method)
    for method in (0, 1):
        found[f"WebP lossless method {method} effort 0"] = encoder("WEBP", lossless=True, method=method, quality=0)
    for method in (0, 2, 4, 6):
        found[f"WebP 90 method {method}"] = encoder("WEBP", quality=90, method=method)
    return found


def _differences_then_deflate() -> dict[str, Encoder]:
    """PNG with one fixed filter, by several implementations of deflate."""
    deflates: dict[str, Callable[[Pixels], bytes]] = {
        "zlib 1": lambda data: zlib.compress(data, 1),
        **{f"isal {level}": lambda data, level=level: isal_zlib.compress(data, level) for level in range(4)},
    }
    try:
        zlib_ng = importlib.import_module("zlib_ng.zlib_ng")
    except ImportError:
        pass
    else:
        deflates |= {f"zlib-ng {level}": lambda data, level=level: zlib_ng.compress(data, level) for level in (1, 2)}

    def encoder(difference: Callable[[Pixels], Pixels], deflate: Callable[[Pixels], bytes]) -> Encoder:
        return lambda pixels: len(deflate(difference(pixels)))

    return {
        f"PNG {name} {how}": encoder(difference, deflate)
        for name, difference in (("sub", _sub), ("up", _up))
        for how, deflate in deflates.items()
    }


def _sub(pixels: Pixels) -> Pixels:
    rows = pixels.reshape(pixels.shape[0], -1)
    filtered = np.ones((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
    filtered[:, 1:4] = rows[:, :3]
    np.subtract(rows[:, 3:], rows[:, :-3], out=filtered[:, 4:])
    return filtered


def _up(pixels: Pixels) -> Pixels:
    rows = pixels.reshape(pixels.shape[0], -1)
    filtered = np.full((rows.shape[0], rows.shape[1] + 1), 2, dtype=np.uint8)
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _ours() -> dict[str, Encoder]:
    return {
        "runtime PNG": lambda pixels: len(encode_image(Picture(pixels), "png")),
        "runtime TIFF": lambda pixels: len(encode_image(Picture(pixels), "tiff")),
        "runtime JPEG 95": lambda pixels: len(encode_image(Picture(pixels), "jpeg")),
        "runtime WebP lossless": lambda pixels: len(encode_image(Picture(pixels), "webp")),
        "runtime WebP 90": lambda pixels: len(encode_image(Picture(pixels), "webp", 90)),
    }


if __name__ == "__main__":
    main()
