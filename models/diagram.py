"""A network as boxes and links on a grid: what a space says about a picture of one of its networks.

Nothing here knows of colours or pixels; `search.drawing` turns a diagram into SVG. What a network does not have but
the space offers (another exit, another width) may be in the picture too, marked as no part of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from models.operations import OPERATIONS

FIXED = "fixed"
"""Kind of everything that is no choice."""
HEADER = 0.5
"""Rows that a frame keeps free above its boxes, for its label."""

PickPairs = tuple[tuple[str, str], ...]
"""(choice, candidate) pairs."""
Way = Literal["across", "down", "rise", "elbow", "over"]
"""How a link runs. `across`: right side to left side. `down`: bottom to top, or top to bottom if the target is above.
`rise`: from the right side up into the bottom. `elbow`: down from the source, then right into the target. `over`: from
top to top, above both."""


@dataclass(frozen=True)
class Kind:
    """A line of the legend.

    Attributes:
        name: What boxes call it.
        text: One line for people.
        free: It costs nothing.
    """

    name: str
    text: str
    free: bool = False


@dataclass(frozen=True)
class Box:
    """A part of the network.

    Attributes:
        id: Unique within the diagram, frames included.
        column: Left edge, in columns of the grid.
        row: Top edge, in rows.
        label: What it is.
        kind: A kind of the diagram.
        detail: A smaller second line: channels, say.
        width: In columns.
        height: In rows.
        part: The network has it; otherwise only the space does.
        picks: The picks that it shows.
        counted: It counts in the legend; not, if it is one of several boxes that show one thing.
    """

    id: str
    column: float
    row: float
    label: str
    kind: str = FIXED
    detail: str = ""
    width: float = 1.0
    height: float = 1.0
    part: bool = True
    picks: PickPairs = ()
    counted: bool = True


@dataclass(frozen=True)
class Frame:
    """Something that several boxes lie in. Links may begin and end at it, too."""

    id: str
    column: float
    row: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Link:
    """An arrow between boxes or frames; `part` and `picks` as for boxes.

    Attributes:
        source: Id of where it begins.
        target: Id of where it ends.
        label: A word beside it.
        part: The network has it.
        way: How it runs.
        lift: Rows above both ends (way `over`).
        picks: The picks that it shows.
    """

    source: str
    target: str
    label: str = ""
    part: bool = True
    way: Way = "across"
    lift: float = 0.5
    picks: PickPairs = ()


@dataclass(frozen=True)
class Diagram:
    """Everything in the picture.

    Attributes:
        boxes: They do not overlap.
        links: Between them.
        title: One line.
        frames: Around boxes.
        kinds: All that boxes may be of besides `FIXED`: those that were not picked too. Colours follow this order.
        note: A second line under the title.

    Raises:
        ValueError: Two parts share an id, a link leads nowhere, or a box is of an unknown kind.
    """

    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    title: str
    frames: tuple[Frame, ...] = ()
    kinds: tuple[Kind, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        ids = [box.id for box in self.boxes] + [frame.id for frame in self.frames]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f"ids of a diagram are not unique: {', '.join(sorted(i for i in ids if ids.count(i) > 1))}"
            )
        lost = sorted({end for link in self.links for end in (link.source, link.target)} - set(ids))
        if lost:
            raise ValueError(f"links lead to {', '.join(lost)}, which the diagram does not have")
        unknown = sorted({box.kind for box in self.boxes} - {FIXED, *(kind.name for kind in self.kinds)})
        if unknown:
            raise ValueError(f"boxes are of kinds {', '.join(unknown)}, which the diagram does not list")

    @property
    def picks(self) -> dict[str, str]:
        """All picks that the picture shows."""
        pairs = [*(box.picks for box in self.boxes), *(link.picks for link in self.links)]
        return {choice: name for own in pairs for choice, name in own}


def operation_kinds(names: Iterable[str]) -> tuple[Kind, ...]:
    """Legend lines of registered operations, each once."""
    return tuple(
        Kind(name, OPERATIONS[name].summary, OPERATIONS[name].free or OPERATIONS[name].kind == "nothing")
        for name in dict.fromkeys(names)
    )


def picked(picks: Mapping[str, str], choice: str, candidates: Sequence[str]) -> tuple[str, PickPairs]:
    """What stands where a choice was made, and the pick to show; none where there is a single candidate."""
    if len(candidates) == 1:
        return candidates[0], ()
    return picks[choice], ((choice, picks[choice]),)
