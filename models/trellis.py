"""All derived networks of a space as paths through a graph of decisions, so that the best one can be found exactly.

A trellis is a directed graph without cycles from `START` to `END`. Each arc makes some picks and pays for some rows;
each path makes one network. Where choices are independent the graph is a chain with parallel arcs (a knapsack); where
a method derives a path (widths of layers, exits of a tree) the graph has that shape.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.cost import CostTerm, OpKey

START = "start"
END = "end"
MAX_JOINT = 200_000


@dataclass(frozen=True)
class Arc:
    """One decision on the way.

    Attributes:
        source: Node it leaves.
        target: Node it enters.
        picks: (choice, candidate) pairs that it makes.
        keys: Rows that it pays, each as often as it is paid.
        scored: Those of its picks whose probability counts; None: all of them.
    """

    source: str
    target: str
    picks: tuple[tuple[str, str], ...]
    keys: tuple[OpKey, ...]
    scored: tuple[tuple[str, str], ...] | None = None

    @property
    def scores(self) -> tuple[tuple[str, str], ...]:
        """The picks whose probability counts."""
        return self.picks if self.scored is None else self.scored


def knapsack_trellis(candidates: Mapping[str, Sequence[str]], terms: Sequence[CostTerm]) -> tuple[Arc, ...]:
    """A chain of groups: choices that share a term are picked jointly, groups are independent of each other.

    Args:
        candidates: Choice id -> candidates; all of them are part of every network.
        terms: What is paid when; terms without conditions are not on any arc.

    Raises:
        ValueError: A group has too many combinations to enumerate.
    """
    groups = _groups(candidates, terms)
    if not groups:
        return (Arc(START, END, (), ()),)
    arcs: list[Arc] = []
    for number, choices in enumerate(groups):
        size = math.prod(len(candidates[choice]) for choice in choices)
        if size > MAX_JOINT:
            raise ValueError(
                f"choices {', '.join(choices)} are priced jointly and have {size} combinations; at most {MAX_JOINT} "
                "are enumerated: give the space terms that tie fewer choices together, or a trellis of its own"
            )
        own = [term for term in terms if term.when and term.when[0][0] in choices]
        source = START if number == 0 else f"group{number}"
        target = END if number == len(groups) - 1 else f"group{number + 1}"
        for names in itertools.product(*(candidates[choice] for choice in choices)):
            picks = dict(zip(choices, names, strict=True))
            keys = tuple(term.key for term in own if term.holds(picks))
            arcs.append(Arc(source, target, tuple(picks.items()), keys))
    return tuple(arcs)


def _groups(candidates: Mapping[str, Sequence[str]], terms: Sequence[CostTerm]) -> list[tuple[str, ...]]:
    """The finest partition of the choices that keeps those of every term together, in order of the choices."""
    group_of = {choice: {choice} for choice in candidates}
    for term in terms:
        merged = set().union(*(group_of[choice] for choice, _ in term.when))
        for choice in merged:
            group_of[choice] = merged
    unique = {id(group): group for group in group_of.values()}
    return [tuple(choice for choice in candidates if choice in group) for group in unique.values()]
