"""Paths of moves that share their beginnings, as a tree in which every node may be where a network ends.

A node is named by the moves that lead to it: `cuc` is a cell, an up-slot, a cell. The first move is always a cell. The
last moves of different nodes are different layers, even where they are of one kind: two paths share the beginning that
they have in common and nothing else.
"""

from dataclasses import dataclass
from functools import cached_property

CELL = "c"
UP = "u"


@dataclass(frozen=True)
class ExitTree:
    """All orders of at most `cells` cells, one of them first, and at most `ups` up-slots.

    With `i` searched cells and `j` up-slots there are C(i+j, i) nodes, so four searched cells and two up-slots make
    55 nodes, 35 of them reached by a cell and 20 by an up-slot, on 15 complete paths.

    Attributes:
        cells: Cells on a complete path, the fixed first one included; at least 1.
        ups: Up-slots on a complete path.
    """

    cells: int
    ups: int

    @property
    def root(self) -> str:
        """The node after the first cell."""
        return CELL

    def children(self, node: str) -> tuple[str, ...]:
        """What can follow: a further cell, a further up-slot."""
        cell = (node + CELL,) if node.count(CELL) < self.cells else ()
        up = (node + UP,) if node.count(UP) < self.ups else ()
        return cell + up

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """All nodes, depth first: a node stands before what follows it."""
        return self._below(self.root)

    def subtree(self, node: str) -> tuple[str, ...]:
        """The nodes whose way leads through this one, itself included."""
        return tuple(other for other in self.nodes if other.startswith(node))

    @property
    def paths(self) -> tuple[tuple[str, ...], ...]:
        """The nodes along each complete path, from the root to a leaf."""
        return tuple(self.way(node) for node in self.nodes if not self.children(node))

    @staticmethod
    def way(node: str) -> tuple[str, ...]:
        """The nodes from the root to this one, both included."""
        return tuple(node[: length + 1] for length in range(len(node)))

    def _below(self, node: str) -> tuple[str, ...]:
        return (node, *(name for child in self.children(node) for name in self._below(child)))
