"""Texts that stay in their place, and names that are still told apart when they are short."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from monitoring.panels import DashboardError
from monitoring.snapshot import palette
from monitoring.snapshot.canvas import Box, Canvas, told_apart, widths_within

LONG = "super-resolution-x2-autoderain-1247ea1e on cpu-openvino-int8-1t for $1"


@pytest.mark.parametrize("room", [300.0, 120.0, 60.0, 30.0])
def test_a_text_is_cut_to_its_room(room: float) -> None:
    canvas = Canvas(400, 100, 1)
    assert canvas.measure(LONG, 11) > 300
    assert canvas.text(0, 10, LONG, 11, room=room) <= room
    assert canvas.text(0, 30, LONG, 11, room=room, smallest=8) <= room
    assert canvas.text(0, 50, "short", 11, room=room) == canvas.measure("short", 11)


def test_sharpness_changes_the_file_and_no_measure(tmp_path: Path) -> None:
    soft, sharp = Canvas(200, 50, 1), Canvas(200, 50, 2)
    assert soft.measure("words", 11) == pytest.approx(sharp.measure("words", 11), rel=0.1)
    sharp.card(Box(10, 10, 100, 30))
    sharp.save(tmp_path / "page.png")
    page = Image.open(tmp_path / "page.png").convert("RGB")
    assert page.size == (400, 100)
    assert page.getpixel((60, 50)) == (255, 255, 255)
    assert page.getpixel((390, 90)) == tuple(int(palette.PAGE[place : place + 2], 16) for place in (1, 3, 5))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a on cpu p50", "a on cpu p95"], ["p50", "p95"]),
        (["a on cpu", "b on cpu"], ["a", "b"]),
        (["a", "a b"], ["a", "a b"]),
        (["alone on cpu"], ["alone on cpu"]),
        (["a x", "b x", "c y"], ["a x", "b x", "c y"]),
    ],
)
def test_words_that_all_have_are_left_out(names: Sequence[str], short: Sequence[str]) -> None:
    assert told_apart(names) == short


@pytest.mark.parametrize(
    ("wanted", "room", "widths"),
    [([10, 20], 40, [10, 20]), ([10, 50], 40, [10, 30]), ([50, 50, 10], 70, [30, 30, 10]), ([40, 20], 20, [10, 10])],
)
def test_the_widest_columns_give_way_first(wanted: list[float], room: float, widths: list[float]) -> None:
    assert widths_within(wanted, room) == pytest.approx(widths)


def test_colours_have_grafanas_names() -> None:
    assert palette.shade("#1f78c1") == "#1f78c1"
    assert palette.shade("rgb(31, 120, 193)") == "#1f78c1"
    reds = [palette.shade(name) for name in ("dark-red", "semi-dark-red", "red", "light-red", "super-light-red")]
    lightness = [sum(int(red[place : place + 2], 16) for place in (1, 3, 5)) for red in reds]
    assert lightness == sorted(lightness)
    assert len(set(reds)) == len(reds)
    with pytest.raises(DashboardError, match="moonlight"):
        palette.shade("moonlight")
