"""24 megapixels through the running server: the most memory that its worker ever holds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.servers import Server, write_known_bundle
from tests.serving.load.traffic import workers
from tests.serving.load.watching import MB, forget_peak, peak_bytes, resident_bytes, say

HEIGHT, WIDTH = 4000, 6000
TIMES = 6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(
    start_server: Callable[..., AbstractContextManager[Server]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, int]]:
    """A server of one worker, and the bytes of its model files."""
    folder = tmp_path_factory.mktemp("memory")
    bundle = write_known_bundle(folder / "bundles" / "derain", "derain-same", "derain", tile=512)
    weights = sum(file.stat().st_size for file in bundle.folder.glob("*.onnx"))
    settings = {"MILLISIGHT_REQUEST_TIMEOUT": "250", "MILLISIGHT_MAX_BODY_BYTES": str(100 * MB)}
    with start_server(folder, (folder / "bundles",), **settings) as running:
        yield running, weights


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """Smooth, with some grain: it packs about as well as a photograph."""
    small = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    smooth = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(1).integers(0, 4, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    return Image.fromarray(np.asarray(smooth) // 2 + grain)


def packed(picture: Image.Image, picture_format: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, picture_format, **({"compress_level": 1} if picture_format == "PNG" else {"quality": 90}))
    return file.getvalue()


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG"])
def test_the_peak_is_bounded(place: tuple[Server, int], photograph: Image.Image, picture_format: str) -> None:
    server, weights = place
    [worker] = workers(server)
    data = packed(photograph, picture_format)
    kind = f"image/{picture_format.lower()}"
    with httpx.Client(base_url=server.url, timeout=280, trust_env=False) as client:
        # The constant: what a warmed up worker holds that has done a small picture: interpreter, libraries, engine,
        # thread stacks. Everything above it is the large picture's.
        small = packed(photograph.crop((0, 0, 600, 600)), picture_format)
        client.post("/v1/derain", content=small, headers={"Content-Type": kind, "Accept": kind}).raise_for_status()
        constant = resident_bytes(worker.pid)
        forget_peak(worker.pid)
        answer = client.post("/v1/derain", content=data, headers={"Content-Type": kind, "Accept": kind})
        peak = peak_bytes(worker.pid)
    assert answer.status_code == 200, answer.text[:500]
    with Image.open(io.BytesIO(answer.content)) as restored:
        assert restored.size == (WIDTH, HEIGHT)
    raw = 2 * 3 * HEIGHT * WIDTH
    say(
        f"{picture_format}: peak {peak / MB:.0f} MB = idle {constant / MB:.0f} + weights {weights / MB:.3f} + "
        f"{(peak - constant - weights) / raw:.2f} x (in + out); file of {len(data) / MB:.1f} MB"
    )
    # The planted fault is that the picture must have been there at all: at least its pixels, once.
    assert peak - constant > raw / 2
    assert peak <= constant + weights + TIMES * raw


def test_memory_comes_back(place: tuple[Server, int], photograph: Image.Image) -> None:
    """A second large picture finds room where the first one was."""
    server, _ = place
    [worker] = workers(server)
    data = packed(photograph, "JPEG")
    peaks = []
    with httpx.Client(base_url=server.url, timeout=280, trust_env=False) as client:
        for _ in range(3):
            forget_peak(worker.pid)
            answer = client.post("/v1/derain", content=data, headers={"Content-Type": "image/jpeg"})
            assert answer.status_code == 200, answer.text[:500]
            peaks.append(peak_bytes(worker.pid))
    say("peaks: " + ", ".join(f"{peak / MB:.0f} MB" for peak in peaks))
    assert peaks[-1] <= peaks[0] + 3 * HEIGHT * WIDTH
