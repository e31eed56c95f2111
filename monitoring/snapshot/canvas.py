"""A page of pixels to draw panels on: cards, texts that know their width, and axes inside."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.text import Text
from PIL import Image

from monitoring.snapshot import palette

__all__ = ["Box", "Canvas"]

_DPI = 100
_POINTS_PER_PIXEL = 72 / _DPI


@dataclass(frozen=True)
class Box:
    """A place on the page, in pixels from the upper left."""

    x: float
    y: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The same with margins."""
        return Box(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


class Canvas:
    """A page.

    Args:
        width: Pixels.
        height: Pixels.
        sharpness: Pixels of the file for one of the page and side, so that it stays sharp on fine screens.
    """

    def __init__(self, width: float, height: float, sharpness: float) -> None:
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI * sharpness, facecolor=palette.PAGE)
        self._agg = FigureCanvasAgg(self._figure)
        self._sharpness = sharpness

    def card(self, box: Box) -> None:
        """The white sheet of a panel."""
        x, y, width, height = self._share(box)
        patch = FancyBboxPatch(
            (x, y), width, height, boxstyle="square,pad=0", facecolor=palette.PAPER, edgecolor=palette.BORDER,
            linewidth=0.6, transform=self._figure.transFigure, zorder=-2,
        )  # fmt: skip
        self._figure.add_artist(patch)

    def block(self, box: Box, color: str, opacity: float = 1.0) -> None:
        """A filled rectangle."""
        x, y, width, height = self._share(box)
        patch = Rectangle((x, y), width, height, facecolor=color, edgecolor="none", alpha=opacity)
        patch.set_transform(self._figure.transFigure)
        self._figure.add_artist(patch)

    def line(self, start: tuple[float, float], end: tuple[float, float], color: str, width: float, dash: bool) -> None:
        """A straight line."""
        (x1, y1), (x2, y2) = start, end
        xs, ys = (x1 / self.width, x2 / self.width), (1 - y1 / self.height, 1 - y2 / self.height)
        style: tuple[float, Sequence[float]] | None = (0, (3, 2)) if dash else None
        self._figure.add_artist(Line2D(xs, ys, color=color, linewidth=width, linestyle=style))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 11,
        color: str = palette.INK,
        *,
        bold: bool = False,
        align: str = "left",
        room: float | None = None,
        smallest: float | None = None,
    ) -> float:
        """One line of text.

        Args:
            x: Its left end, right end or middle, as `align` says.
            y: Its middle.
            words: What it says.
            size: Height of the letters, pixels.
            color: Of the letters.
            bold: Whether they are.
            align: left, right or center.
            room: Where it is wider it loses its middle; its ends are what tells names apart. None: it may be as wide.
            smallest: Before that, its letters become smaller down to this, pixels; None: they do not.

        Returns:
            Its width, pixels.
        """
        artist = Text(
            x / self.width, 1 - y / self.height, _plain(words), fontsize=size * _POINTS_PER_PIXEL,
            color=color, fontweight="bold" if bold else "normal", ha=align, va="center",
        )  # fmt: skip
        self._figure.add_artist(artist)
        width = self._width_of(artist)
        if room is None or width <= room:
            return width
        if smallest is not None:
            # A little less: letters do not shrink evenly.
            size = max(smallest, 0.96 * size * room / width)
            artist.set_fontsize(size * _POINTS_PER_PIXEL)
            width = self._width_of(artist)
        kept = len(words)
        while width > room and kept > 2:
            kept = max(2, min(kept - 1, int(kept * room / width)))
            artist.set_text(_plain(f"{words[: (kept + 1) // 2].rstrip()}…{words[len(words) - kept // 2 :].lstrip()}"))
            width = self._width_of(artist)
        return width

    def wrapped(self, words: str, size: float, room: float) -> list[str]:
        """Lines of a text that are no wider than there is room."""
        lines = [""]
        for word in words.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.measure(longer, size) > room:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines

    def measure(self, words: str, size: float, *, bold: bool = False) -> float:
        """The width of a text, pixels."""
        weight = "bold" if bold else "normal"
        artist = Text(0, 0, _plain(words), fontsize=size * _POINTS_PER_PIXEL, fontweight=weight)
        artist.set_figure(self._figure)
        return self._width_of(artist)

    def axes(self, box: Box) -> Axes:
        """Axes that fill a place."""
        axes = self._figure.add_axes(self._share(box), facecolor="none")
        axes.tick_params(length=0, labelsize=10 * _POINTS_PER_PIXEL, labelcolor=palette.FAINT, pad=2)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.set_axisbelow(True)
        return axes

    def move(self, axes: Axes, box: Box) -> None:
        """Put axes to another place."""
        axes.set_position(self._share(box))

    def save(self, path: Path, colors: int = 192) -> None:
        """Write the page as PNG, with a palette of so many colours to keep it small."""
        self._agg.draw()  # type: ignore[no-untyped-call]
        pixels = bytes(self._agg.buffer_rgba())  # type: ignore[no-untyped-call]
        size = self._agg.get_width_height()
        page = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1).convert("RGB")
        small = page.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        buffer = io.BytesIO()
        small.save(buffer, "PNG", optimize=True)
        path.write_bytes(buffer.getvalue())

    def _share(self, box: Box) -> tuple[float, float, float, float]:
        bottom = 1 - (box.y + box.height) / self.height
        return box.x / self.width, bottom, box.width / self.width, box.height / self.height

    def _width_of(self, artist: Text) -> float:
        renderer = self._agg.get_renderer()  # type: ignore[no-untyped-call]
        return float(artist.get_window_extent(renderer).width) / self._sharpness


def _plain(words: str) -> str:
    """Without matplotlib's own meaning of a dollar."""
    return words.replace("$", r"\$")


def told_apart(names: Sequence[str]) -> list[str]:
    """Names without the words that all of them have, as far as something is left of each."""
    split = [name.split() for name in names]
    common = set.intersection(*map(set, split)) if len(split) > 1 else set()
    if any(set(words) <= common for words in split):
        return list(names)
    return [" ".join(word for word in words if word not in common) for words in split]


def widths_within(wanted: Sequence[float], room: float) -> list[float]:
    """Widths of columns that fit: as wanted where that fits, else the widest give way first."""
    widths = list(wanted)
    while widths and sum(widths) > room + 1e-6:
        widest = max(widths)
        below = max((width for width in widths if width < widest), default=0.0)
        number = sum(width == widest for width in widths)
        cut = min(widest - below, (sum(widths) - room) / number)
        widths = [width - cut if width == widest else width for width in widths]
    return widths
