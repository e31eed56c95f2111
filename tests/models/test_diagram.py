"""Pictures of networks: everything that a network picked is in them, and nothing lies on anything else."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from models import Space, SpaceConfig, get_space
from models.diagram import FIXED, Box, Diagram, Frame, Kind, Link, operation_kinds, picked

RandomPicks = Callable[[Space[Any], SpaceConfig, int], dict[str, str]]


def overlaps(diagram: Diagram) -> list[tuple[str, str]]:
    return [(a.id, b.id) for a, b in combinations(diagram.boxes, 2) if _meet(a, b) > 1e-9]


def _meet(a: Box | Frame, b: Box | Frame) -> float:
    """Area that two parts share."""
    across = min(a.column + a.width, b.column + b.width) - max(a.column, b.column)
    down = min(a.row + a.height, b.row + b.height) - max(a.row, b.row)
    return max(0.0, across) * max(0.0, down)


def straddling(diagram: Diagram) -> list[tuple[str, str]]:
    """Boxes that lie half in a frame."""
    return [
        (box.id, frame.id)
        for box in diagram.boxes
        for frame in diagram.frames
        if 1e-9 < _meet(box, frame) < box.width * box.height - 1e-9
    ]


@pytest.mark.parametrize("seed", range(4))
def test_every_pick_is_shown_and_no_boxes_overlap(
    space_name: str, values: dict[str, Any], random_picks: RandomPicks, seed: int
) -> None:
    space = get_space(space_name)
    config = space.parse_config(values)
    picks = space.reached(config, random_picks(space, config, seed))
    diagram = space.diagram(config, picks)
    assert diagram.picks == picks
    assert not overlaps(diagram)
    assert not straddling(diagram)
    frames = [part for part in combinations(diagram.frames, 2) if _meet(*part) > 1e-9]
    assert not frames


def test_another_pick_makes_another_picture(space_name: str, values: dict[str, Any], random_picks: RandomPicks) -> None:
    space = get_space(space_name)
    config = space.parse_config(values)
    drawn = {}
    for seed in range(6):
        picks = space.reached(config, random_picks(space, config, seed))
        diagram = space.diagram(config, picks)
        drawn[tuple(sorted(picks.items()))] = (diagram.boxes, diagram.links)
    assert len(set(drawn.values())) == len(drawn)


def test_what_is_drawn_of_the_published_sizes_is_in_order(random_picks: RandomPicks) -> None:
    for name, scale in (("unet", 1), ("hinas", 1), ("clearer", 1), ("manas", 1), ("trilevel", 4)):
        space = get_space(name)
        config = space.parse_config(space.task_config(scale))
        picks = space.reached(config, random_picks(space, config, 1))
        diagram = space.diagram(config, picks)
        assert diagram.picks == picks, name
        assert not overlaps(diagram), name


def test_planted_faults_are_found() -> None:
    diagram = Diagram((Box("a", 0, 0, "a"), Box("b", 1, 0, "b")), (Link("a", "b"),), "two")
    assert not overlaps(diagram)
    moved = replace(diagram, boxes=(diagram.boxes[0], replace(diagram.boxes[1], column=0.9)))
    assert overlaps(moved) == [("a", "b")]
    framed = replace(diagram, frames=(Frame("f", 0.5, 0, 2, 2, "f"),))
    assert straddling(framed) == [("a", "f")]


class TestRefusals:
    """What no picture can be made of."""

    def test_two_parts_of_one_name(self) -> None:
        with pytest.raises(ValueError, match="not unique: a, a"):
            Diagram((Box("a", 0, 0, "a"),), (), "x", frames=(Frame("a", 0, 0, 1, 1, "a"),))

    def test_a_link_to_nowhere(self) -> None:
        with pytest.raises(ValueError, match="links lead to b"):
            Diagram((Box("a", 0, 0, "a"),), (Link("a", "b"),), "x")

    def test_a_kind_without_a_line_in_the_legend(self) -> None:
        with pytest.raises(ValueError, match="kinds odd"):
            Diagram((Box("a", 0, 0, "a", "odd"),), (), "x", kinds=(Kind("even", "even"),))


def test_a_single_candidate_is_no_pick_to_show() -> None:
    assert picked({}, "choice", ("only",)) == ("only", ())
    assert picked({"choice": "b"}, "choice", ("a", "b")) == ("b", (("choice", "b"),))


def test_kinds_know_what_costs_nothing() -> None:
    kinds = operation_kinds(("conv3x3", "skip", "none", "conv3x3"))
    assert [(kind.name, kind.free) for kind in kinds] == [("conv3x3", False), ("skip", True), ("none", True)]
    assert FIXED not in {kind.name for kind in kinds}
