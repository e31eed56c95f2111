"""The multi-scale trunk as a picture: rows are scales, columns of modules from left to right.

A parallel column is a straight line on every scale, in a fusion column all lines meet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.diagram import HEADER, Box, Diagram, Frame, Kind, Link, operation_kinds
from models.multiscale import StagePlan, TrunkConfig, column_choices, plan_stages
from models.operations.scales import scale_channels

MODULE = 0.8
"""Columns of a module."""
GAP = 0.25
PARALLEL = Kind("parallel", "a residual block on each scale")
FUSION = Kind("fusion", "every scale from all scales")


@dataclass(frozen=True)
class CellPicture:
    """What is drawn behind a stage on one scale; places count from the cell's own corner.

    Attributes:
        boxes: Inside the cell.
        links: Between them.
    """

    boxes: tuple[Box, ...]
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Cells:
    """Attention cells: how large one is drawn, and what is in it.

    Attributes:
        width: Columns inside the frame.
        height: Rows inside the frame, without its header.
        picture: (prefix of choice ids, channels, column, row) -> the parts, in place.
        names: Candidates of their edges.
    """

    width: float
    height: float
    picture: Callable[[str, int, float, float], CellPicture]
    names: tuple[str, ...]


@dataclass
class _Page:
    """Parts as they are put down from left to right, and what each scale ends in so far."""

    pitch: float
    column: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def middle(self, scale: int) -> float:
        """Top row of a box of height 1 on a scale."""
        return scale * self.pitch + (self.pitch - 0.3 - 1.0) / 2


def trunk_diagram(config: TrunkConfig, picks: Mapping[str, str], cells: Cells | None = None) -> Diagram:
    """Bottlenecks, stages of columns with whatever stands behind them, the last fusion."""
    page = _Page(1.3 if cells is None else cells.height + HEADER + 0.5)
    top = page.middle(0)
    page.boxes.append(Box("input", 0, top, "input", width=MODULE))
    wide = config.channels * config.expansion
    column = MODULE + GAP
    page.boxes.append(Box("bottlenecks", column, top, "bottlenecks", detail=f"{config.bottlenecks} x, {wide} ch"))
    page.links.append(Link("input", "bottlenecks"))
    page.column, page.ends = column + 1.0 + GAP, ["bottlenecks"]
    for plan in plan_stages(config):
        _stage(page, config, plan, picks, cells)
    rows = (config.stages[-1] - 1) * page.pitch + 1.0
    page.boxes.append(Box("fuse", page.column, top, "fuse", detail="into the finest", height=rows))
    page.links += [Link(end, "fuse") for end in page.ends]
    after = page.column + 1.0 + GAP
    detail = f"to {3 * config.scale**2}" + (", pixel shuffle" if config.scale > 1 else "")
    page.boxes.append(Box("tail", after, top, "1x1", detail=detail))
    page.boxes.append(Box("output", after + 1.0 + GAP, top, "output", width=MODULE))
    page.links += [Link("fuse", "tail"), Link("tail", "output")]
    if config.scale > 1 or config.residual:
        label = "add bicubic enlargement" if config.scale > 1 else "add"
        page.links.append(Link("input", "output", label, way="over", lift=top + 0.7))
    kinds = (PARALLEL, FUSION, *(operation_kinds(cells.names) if cells else ()))
    return Diagram(tuple(page.boxes), tuple(page.links), "multi-scale trunk", tuple(page.frames), kinds)


def _stage(page: _Page, config: TrunkConfig, plan: StagePlan, picks: Mapping[str, str], cells: Cells | None) -> None:
    channels = scale_channels(config.channels, plan.branches)
    _transition(page, plan, channels)
    for choice, _ in column_choices(config):
        if choice.startswith(f"{plan.name}."):
            _column(page, choice, picks[choice], channels)
    if cells is None:
        return
    for scale, width in enumerate(channels):
        prefix = f"{plan.name}.branch{scale}"
        row = scale * page.pitch
        inside = cells.picture(prefix, width, page.column + 0.1, row + HEADER)
        page.boxes += inside.boxes
        page.links += [*inside.links, Link(page.ends[scale], prefix)]
        label = f"attention, {width} ch"
        page.frames.append(Frame(prefix, page.column, row, cells.width + 0.2, cells.height + HEADER + 0.1, label))
        page.ends[scale] = prefix
    page.column += cells.width + 0.2 + GAP


def _transition(page: _Page, plan: StagePlan, channels: tuple[int, ...]) -> None:
    ends: list[str] = []
    for scale, width in enumerate(channels):
        old = min(scale, len(plan.entering) - 1)
        name = f"{plan.name}.transition{scale}"
        same = "as it is" if plan.entering[old] == width else "3x3"
        label = same if scale < len(plan.entering) else "3x3 /2"
        page.boxes.append(Box(name, page.column, page.middle(scale), label, detail=f"{width} ch", width=0.6))
        page.links.append(Link(page.ends[old], name))
        ends.append(name)
    page.ends = ends
    page.column += 0.6 + GAP


def _column(page: _Page, choice: str, name: str, channels: tuple[int, ...]) -> None:
    kind = name.rstrip("0123456789")
    ends = []
    for scale, width in enumerate(channels):
        box = f"{choice}.scale{scale}"
        pairs = ((choice, name),) if scale == 0 else ()
        detail = f"{width} ch, 1/{2**scale}"
        page.boxes.append(
            Box(box, page.column, page.middle(scale), name, kind, detail, width=MODULE, picks=pairs, counted=scale == 0)
        )
        sources = page.ends if kind == FUSION.name else [page.ends[scale]]
        page.links += [Link(source, box) for source in sources]
        ends.append(box)
    page.ends = ends
    page.column += MODULE + GAP
