import math

import pytest

from models.exit_tree import CELL, UP, ExitTree

PAPER = ExitTree(cells=5, ups=2)


def test_the_papers_tree_has_55_nodes_35_cells_20_up_slots_and_15_complete_paths() -> None:
    assert len(PAPER.nodes) == 55
    assert sum(node.endswith(CELL) for node in PAPER.nodes) == 35
    assert sum(node.endswith(UP) for node in PAPER.nodes) == 20
    assert len(PAPER.paths) == 15
    # All orders of the moves after the first cell.
    assert {path[-1] for path in PAPER.paths} == {n for n in PAPER.nodes if (n.count(CELL), n.count(UP)) == (5, 2)}


def test_without_up_slots_it_is_a_chain() -> None:
    assert ExitTree(5, 0).nodes == ("c", "cc", "ccc", "cccc", "ccccc")
    assert ExitTree(5, 0).paths == (("c", "cc", "ccc", "cccc", "ccccc"),)


@pytest.mark.parametrize(("cells", "ups"), [(1, 0), (1, 2), (2, 1), (4, 3)])
def test_nodes_are_all_orders_of_the_moves(cells: int, ups: int) -> None:
    nodes = ExitTree(cells, ups).nodes
    assert len(set(nodes)) == len(nodes)
    assert len(nodes) == sum(math.comb(i + j, i) for i in range(cells) for j in range(ups + 1))
    assert all(node.startswith(CELL) for node in nodes)


def test_a_small_tree_written_out() -> None:
    tree = ExitTree(cells=2, ups=1)
    assert tree.nodes == ("c", "cc", "ccu", "cu", "cuc")
    assert tree.children("c") == ("cc", "cu")
    assert tree.children("cuc") == ()
    assert tree.subtree("cu") == ("cu", "cuc")
    assert tree.way("cuc") == ("c", "cu", "cuc")
    assert tree.paths == (("c", "cc", "ccu"), ("c", "cu", "cuc"))


def test_depth_first_lists_a_node_before_what_follows_it() -> None:
    places = {node: place for place, node in enumerate(PAPER.nodes)}
    for node in PAPER.nodes:
        below = PAPER.subtree(node)
        assert [places[other] for other in below] == list(range(places[node], places[node] + len(below)))
