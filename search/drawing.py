"""Diagrams of networks as SVG: one colour per kind of operation, what the network does not have in pale."""

import colorsys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

import torch

from models import Genotype, ModelError, get_space, num_parameters
from models.diagram import FIXED, HEADER, Box, Diagram, Frame, Kind, Link
from search import svg
from search.errors import SearchError
from search.svg import Point, Rectangle

COLUMN, ROW = 112.0, 48.0
"""Pixels of a cell of the grid."""
GAP = 6.0
"""Between a box and the edge of its cells."""
MARGIN = 24.0
TITLE = 52.0
LEGEND_COLUMN, LEGEND_ROW = 420.0, 20.0
LARGE, SMALL, LEAST = 11.0, 9.0, 6.0
"""Sizes of letters; labels shrink to the least before they stick out."""

INK, FAINT_INK, LINE, PALE_LINE = "#1d2430", "#a9b1bc", "#4a5565", "#d5dae1"
FIXED_FILL, FREE_FILL, PALE_FILL, FRAME_FILL = "#eef1f5", "#ffffff", "#fbfcfd", "#f7f9fc"

# Distinguishable also in weak colour vision as far as twelve can be; more follow by turning the hue.
PALETTE = (
    "#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e3b505", "#76b7b2", "#e15759", "#9c755f", "#ff9da7", "#7f7fd5",
    "#8cd17d", "#499894",
)  # fmt: skip


@dataclass(frozen=True)
class _Style:
    fill: str
    stroke: str
    dash: str = ""


_PALE = _Style(PALE_FILL, PALE_LINE)


def load_genotype(place: Path) -> Genotype:
    """The genotype of a file, or of a run's folder.

    Raises:
        SearchError: There is none, or the file is damaged.
    """
    try:
        return Genotype.load(place / "genotype.json" if place.is_dir() else place)
    except ModelError as error:
        raise SearchError(str(error)) from error


def genotype_diagram(genotype: Genotype) -> Diagram:
    """The picture of a genotype, under its id, its size and what it was predicted to take.

    Raises:
        SearchError: The genotype does not fit its space.
    """
    try:
        space = get_space(genotype.space)
        with torch.device("meta"):
            parameters = num_parameters(space.build(genotype))
        diagram = space.diagram(space.parse_config(genotype.config), genotype.picks)
    except ModelError as error:
        raise SearchError(str(error)) from error
    facts = [diagram.title, f"x{genotype.config['scale']}", f"{parameters:,} parameters"]
    if genotype.expected_ms is not None:
        facts.append(f"predicted {genotype.expected_ms:.4g} ms")
    return replace(diagram, title=f"{genotype.space} {genotype.id}", note=", ".join(facts))


def draw_svg(diagram: Diagram) -> str:
    """A self-contained SVG file."""
    lift = max((_lift(diagram, link) for link in diagram.links), default=0.0)
    parts: tuple[Box | Frame, ...] = (*diagram.boxes, *diagram.frames)
    top = MARGIN + TITLE + ROW * (lift - min(part.row for part in parts))
    left = MARGIN - COLUMN * min(part.column for part in parts)
    places = {part.id: _place(part, left, top) for part in parts}
    width = max(max(place.right for place in places.values()) + MARGIN, MARGIN + LEGEND_COLUMN)
    below = max(place.bottom for place in places.values()) + 20.0
    per_row = max(1, int((width - 2 * MARGIN) // LEGEND_COLUMN))
    height = below + LEGEND_ROW * (-(-(len(diagram.kinds) + 1) // per_row)) + MARGIN
    root = svg.document(width, height)
    svg.arrow_head(root, "arrow", LINE)
    svg.arrow_head(root, "pale-arrow", PALE_LINE)
    svg.text(root, (MARGIN, MARGIN + 14), diagram.title, 16, INK, anchor="start", bold=True)
    svg.text(root, (MARGIN, MARGIN + 32), diagram.note, LARGE, LINE, anchor="start")
    styles = _styles(diagram.kinds)
    for frame in diagram.frames:
        _draw_frame(root, frame, places[frame.id])
    # What the network does not have first, so that it lies beneath.
    for shown in (False, True):
        for link in diagram.links:
            if link.part is shown:
                _draw_link(root, link, places)
    for box in sorted(diagram.boxes, key=lambda box: box.part):
        _draw_box(root, box, places[box.id], styles[box.kind])
    for link in diagram.links:
        _draw_label(root, link, places)
    _draw_legend(root, diagram, styles, below, per_row)
    return svg.to_string(root)


def _styles(kinds: tuple[Kind, ...]) -> dict[str, _Style]:
    styles = {FIXED: _Style(FIXED_FILL, "#9aa5b4")}
    paid = [kind.name for kind in kinds if not kind.free]
    for number, name in enumerate(paid):
        colour = PALETTE[number] if number < len(PALETTE) else _turned(number - len(PALETTE))
        styles[name] = _Style(_tint(colour), colour)
    return styles | {kind.name: _Style(FREE_FILL, "#7b8794", "4 3") for kind in kinds if kind.free}


def _turned(number: int) -> str:
    red, green, blue = colorsys.hls_to_rgb((number * 0.618034) % 1.0, 0.45, 0.5)
    return f"#{int(255 * red):02x}{int(255 * green):02x}{int(255 * blue):02x}"


def _tint(colour: str) -> str:
    """Three fifths of the way to white: dark letters stay readable."""
    channels = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return "#" + "".join(f"{round(c + 0.6 * (255 - c)):02x}" for c in channels)


def _place(part: Box | Frame, left: float, top: float) -> Rectangle:
    # Frames keep closer to their cells' edges than the boxes in them.
    gap = GAP if isinstance(part, Box) else GAP / 3
    return Rectangle(
        left + COLUMN * part.column + gap,
        top + ROW * part.row + gap,
        COLUMN * part.width - 2 * gap,
        ROW * part.height - 2 * gap,
    )


def _lift(diagram: Diagram, link: Link) -> float:
    """Rows that a link needs above the topmost part."""
    if link.way != "over":
        return 0.0
    parts: tuple[Box | Frame, ...] = (*diagram.boxes, *diagram.frames)
    rows = {part.id: part.row for part in parts}
    highest = min(rows[link.source], rows[link.target])
    return max(0.0, link.lift + 0.3 - (highest - min(rows.values())))


def _draw_frame(root: Element, frame: Frame, place: Rectangle) -> None:
    svg.rectangle(root, place, FRAME_FILL, "#c3ccd8", radius=6)
    size = _fitting(frame.label, place.width - 12, SMALL)
    svg.text(root, (place.left + 7, place.top + ROW * HEADER / 2 + 5), frame.label, size, LINE, anchor="start")


def _draw_box(root: Element, box: Box, place: Rectangle, style: _Style) -> None:
    told = "; ".join(f"{choice}: {name}" for choice, name in box.picks) or box.id
    into = svg.group(root, told)
    shown = style if box.part else _PALE
    svg.rectangle(into, place, shown.fill, shown.stroke, dash=shown.dash)
    ink = INK if box.part else FAINT_INK
    room = place.width - 6
    size = _fitting(box.label, room, LARGE)
    x, y = place.centre
    if not box.detail:
        svg.text(into, (x, y + size / 3), box.label, size, ink)
        return
    svg.text(into, (x, y - 2), box.label, size, ink)
    svg.text(into, (x, y + 11), box.detail, _fitting(box.detail, room, SMALL), ink)


def _fitting(content: str, room: float, largest: float) -> float:
    """Size of letters at which a line fits."""
    return max(LEAST, min(largest, largest * room / max(1.0, svg.text_width(content, largest))))


def _ports(link: Link, places: Mapping[str, Rectangle]) -> tuple[Point, Point]:
    """Where a link begins and ends."""
    source, target = places[link.source], places[link.target]
    if link.way == "over":
        return (source.centre[0], source.top), (target.centre[0], target.top)
    if link.way == "rise":
        return (source.right, source.centre[1]), (target.centre[0], target.bottom)
    if link.way == "elbow":
        return (source.centre[0], source.bottom), (target.left, target.centre[1])
    if link.way == "down":
        above = source.centre[1] < target.centre[1]
        ends = (source.bottom, target.top) if above else (source.top, target.bottom)
        return (source.centre[0], ends[0]), (target.centre[0], ends[1])
    # Into a tall box as straight as it goes.
    return (source.right, _nearest(source, target)), (target.left, _nearest(target, source))


def _nearest(here: Rectangle, there: Rectangle) -> float:
    """Height at which a link joins the side of a box: the other's middle, as far as this side reaches."""
    edge = min(12.0, here.height / 3)
    middle = here.centre[1] if here.height <= there.height else there.centre[1]
    return min(max(middle, here.top + edge), here.bottom - edge)


def _draw_link(root: Element, link: Link, places: Mapping[str, Rectangle]) -> None:
    start, end = _ports(link, places)
    match link.way:
        case "across":
            points = svg.curve(start, end)
        case "down":
            points = svg.curve(start, end, vertical=True)
        case "rise":
            points = svg.bend(start, end)
        case "elbow":
            points = svg.polyline((start, (start[0], end[1]), end))
        case "over":
            height = min(start[1], end[1]) - ROW * link.lift
            points = svg.polyline((start, (start[0], height), (end[0], height), end))
    told = "; ".join(f"{choice}: {name}" for choice, name in link.picks)
    into = svg.group(root, told)
    svg.path(into, points, *((LINE, 1.4, "arrow") if link.part else (PALE_LINE, 1.0, "pale-arrow")))


def _draw_label(root: Element, link: Link, places: Mapping[str, Rectangle]) -> None:
    if not link.label:
        return
    start, end = _ports(link, places)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if link.way == "over":
        y = min(start[1], end[1]) - ROW * link.lift
    elif link.way == "rise":
        x, y = (start[0] + 3 * end[0]) / 4, (3 * start[1] + end[1]) / 4
    wide = svg.text_width(link.label, SMALL) + 6
    svg.rectangle(root, Rectangle(x - wide / 2, y - 7, wide, 13), "#ffffff", "none", radius=3)
    svg.text(root, (x, y + 3), link.label, SMALL, LINE)


def _draw_legend(root: Element, diagram: Diagram, styles: Mapping[str, _Style], top: float, per_row: int) -> None:
    """All kinds that the space offers, and how often each was picked."""
    drawn = Counter(box.kind for box in diagram.boxes if box.counted and (box.part or box.picks))
    present = Counter(box.kind for box in diagram.boxes if box.part)
    lines_of = Counter(name for link in diagram.links for _, name in link.picks)
    counts = {kind.name: drawn[kind.name] or lines_of[kind.name] for kind in diagram.kinds}
    lines = [(kind.name, f"{kind.name} x {counts[kind.name]}: {kind.text}") for kind in diagram.kinds]
    lines.append((FIXED, "not searched"))
    for number, (name, content) in enumerate(lines):
        x, y = MARGIN + LEGEND_COLUMN * (number % per_row), top + LEGEND_ROW * (number // per_row)
        into = svg.group(root)
        # What was picked and is no part is a pale box or a pale link.
        style = _PALE if counts.get(name) and not present[name] else styles[name]
        svg.rectangle(into, Rectangle(x, y, 22, 13), style.fill, style.stroke, dash=style.dash)
        ink = INK if name == FIXED or counts[name] else FAINT_INK
        size = _fitting(content, LEGEND_COLUMN - 40, SMALL + 1)
        svg.text(into, (x + 30, y + 10), content, size, ink, anchor="start")
