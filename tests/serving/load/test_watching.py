"""The instruments of the load tests find what they are to find, and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serving.load.traffic import BROKEN, Connection, Constant, total
from tests.serving.load.watching import MB, files_below, forget_peak, peak_bytes, resident_bytes, slope_per_minute

SECONDS = np.arange(0, 1800, 5.0)


def noise(seed: int) -> np.ndarray:
    """What resident memory does by itself: it warms up, scatters, and large pictures come and go."""
    random = np.random.default_rng(seed)
    warm = 150 - 40 * np.exp(-SECONDS / 60)
    bursts = 80 * (random.random(len(SECONDS)) < 0.1)
    return np.asarray(warm + random.normal(0, 3, len(SECONDS)) + bursts)


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_found_and_noise_is_none(seed: int) -> None:
    leaking = noise(seed) + 2.0 * SECONDS / 60
    assert 1.5 < slope_per_minute(SECONDS, leaking) < 2.5
    assert abs(slope_per_minute(SECONDS, noise(seed))) < 0.3


def test_what_warms_up_is_no_leak_unless_it_is_counted() -> None:
    warm = 150 - 140 * np.exp(-SECONDS / 120)
    assert slope_per_minute(SECONDS, warm) < 0.2
    assert slope_per_minute(SECONDS[:60], warm[:60], skip=0.0) > 2.0


HOLD = """
import sys
for line in sys.stdin:
    held = bytearray(int(line)); held[::4096] = b"x" * len(held[::4096]); del held
    print(flush=True)
"""


def test_a_peak_is_seen_after_it_has_passed_and_can_be_forgotten() -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def hold(count: int) -> int:
            forget_peak(child.pid)
            child.stdin.write(b"%d\n" % count)  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            child.stdout.readline()  # type: ignore[union-attr]
            return peak_bytes(child.pid)

        small = hold(1)
        assert hold(200 * MB) > small + 190 * MB
        assert hold(1) < small + 20 * MB
        assert resident_bytes(child.pid) <= peak_bytes(child.pid)
        child.stdin.close()


def test_files_left_behind_are_seen(tmp_path: Path) -> None:
    before = files_below(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "left").write_bytes(b"")
    assert files_below(tmp_path) - before == {str(tmp_path / "a" / "left")}


def test_another_ones_picture_is_seen() -> None:
    pictures = [Constant.of(number) for number in range(64)]
    assert len(set(pictures)) == 64
    assert pictures[7].is_in(pictures[7].file())
    assert not any(pictures[7].is_in(other.file()) for other in pictures if other != pictures[7])


def test_half_an_answer_is_an_error_and_no_picture() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(half, "127.0.0.1", 0)
        connection = await Connection.open(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(BROKEN):
            await connection.post("/v1/derain", b"")
        connection.close()
        server.close()

    asyncio.run(main())


def test_metrics_are_summed_by_label() -> None:
    text = (
        '# HELP a b\na_total{code="200",task="x"} 2.0\na_total{code="200",task="y"} 3.0\na_total{code="429"} 1\nb -1.0'
    )
    assert total(text, "a_total", code="200") == 5.0
    assert total(text, "a_total") == 6.0
    assert total(text, "b") == -1.0
    assert total(text, "c") is None
