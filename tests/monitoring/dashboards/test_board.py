"""Numbers and places of panels."""

from __future__ import annotations

import pytest

from monitoring.dashboards import BOARDS
from monitoring.dashboards.board import Board, Section, WidthError, build
from monitoring.dashboards.graphs import graph
from monitoring.dashboards.looks import Unit
from monitoring.dashboards.queries import Query, Tile
from monitoring.dashboards.variables import DATASOURCE_VARIABLE


def tile(title: str, width: int, height: int) -> Tile:
    return graph(title, "Nothing.", Unit.COUNT, Query("up", "up"), width=width, height=height)


def board(*sections: Section) -> Board:
    return Board("made", "made-up-board", "Made up", "What is where?", (), sections)


def places(made: Board) -> dict[str, tuple[int, int]]:
    panels = build(made, DATASOURCE_VARIABLE).panels or []
    inner = [panel for row in panels if hasattr(row, "panels") for panel in row.panels]
    return {str(panel.title): (panel.grid_pos.x, panel.grid_pos.y) for panel in [*panels, *inner] if panel.grid_pos}


def test_panels_flow_to_the_right_and_then_below_the_highest() -> None:
    tiles = (tile("a", 8, 4), tile("b", 12, 6), tile("c", 8, 4), tile("d", 24, 2))
    found = places(board(Section("one", tiles), Section("two", (tile("e", 4, 4),))))
    assert found == {"one": (0, 0), "a": (0, 1), "b": (8, 1), "c": (0, 7), "d": (0, 11), "two": (0, 13), "e": (0, 14)}


def test_what_follows_a_closed_row_stands_right_below_it() -> None:
    closed = Section("closed", (tile("a", 12, 8), tile("b", 12, 8)), collapsed=True)
    found = places(board(closed, Section("open", (tile("c", 4, 4),))))
    assert found == {"closed": (0, 0), "a": (0, 1), "b": (12, 1), "open": (0, 1), "c": (0, 2)}


def test_a_panel_wider_than_the_grid_is_refused() -> None:
    with pytest.raises(WidthError, match="25 columns"):
        build(board(Section("one", (tile("a", 25, 4),))), DATASOURCE_VARIABLE)


def test_building_leaves_the_tile_as_it_was() -> None:
    one = tile("a", 4, 4)
    build(board(Section("first", ()), Section("one", (one,))), DATASOURCE_VARIABLE)
    assert one.panel.id_val is None
    assert one.panel.grid_pos is None


def test_panels_that_may_be_empty_are_known_by_title() -> None:
    overview = next(board for board in BOARDS if board.slug == "overview")
    assert {title for title, need in overview.needs().items() if need == "gpu"} == {"Memory of the GPU", "GPU busy"}
    assert "Rate by task" not in overview.needs()
