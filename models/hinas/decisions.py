"""All derived networks of the HiNAS space as paths of decisions, and the paper's own rule among them."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from models.hinas.config import KEPT, MOVES, NONE, STEM, HiNASConfig, Path, sources
from models.hinas.costs import priced, projections
from models.trellis import END, START, Arc

Probabilities = Mapping[str, Mapping[str, float]]
"""Choice id -> candidate -> probability."""
Place = tuple[int, int]
"""(layer, width level) of a cell."""


def trellis(config: HiNASConfig) -> tuple[Arc, ...]:
    """A route into a layer, then node by node the two predecessors that it keeps, with their operations.

    What a route costs depends on the two levels before it, so the state holds two levels. Where all layers obey the
    same choices of operations these are decided at the end, once for all layers, and the state holds the whole path.

    The probabilities of edges that are dropped do not count: the paper ranks predecessors by the operations kept.
    """
    return tuple(_tied(config) if config.tied else _layerwise(config))


def num_networks(config: HiNASConfig) -> int:
    """Paths of widths, times pairs of predecessors and pairs of operations of every node that decides for itself."""
    cell = math.prod(math.comb(len(sources(n)), KEPT) * len(config.operations) ** KEPT for n in range(config.nodes))
    decided: int = cell ** (1 if config.tied else config.layers)
    return len(config.paths(config.layers)) * decided


def node_picks(config: HiNASConfig, layer: int, node: int, kept: Mapping[int, str]) -> tuple[tuple[str, str], ...]:
    """(choice, candidate) pairs of all edges of a node, given predecessor -> operation of those that it keeps."""
    return tuple((config.edge(layer, node, source), kept.get(source, NONE)) for source in sources(node))


def allowed(config: HiNASConfig, picks: Mapping[str, str]) -> bool:
    """Does every node keep two predecessors?"""
    return all(
        sum(picks[config.edge(layer, node, source)] != NONE for source in sources(node)) == KEPT
        for layer in range(STEM + 1, config.layers + 1)
        for node in range(config.nodes)
    )


def paper_picks(config: HiNASConfig, probabilities: Probabilities) -> dict[str, str]:
    """The paper's rule, without a budget.

    Widths: the path with the largest product of its routes' probabilities (Viterbi, from level 0). Cells: every node
    keeps the two predecessors whose best operation is the most probable, each with that operation; `none` is no
    operation. Of equals the first.
    """
    picks = dict(config.route_picks(_viterbi(config, probabilities)))
    for layer in range(STEM + 1, config.layers + 1):
        for node in range(config.nodes):
            best: dict[int, tuple[float, str]] = {}
            for source in sources(node):
                entry = probabilities[config.edge(layer, node, source)]
                name = max(config.operations, key=entry.__getitem__)
                best[source] = (entry[name], name)
            ranked = sorted(best, key=lambda source: -best[source][0])[:KEPT]
            picks |= dict(node_picks(config, layer, node, {source: best[source][1] for source in ranked}))
    return picks


def _viterbi(config: HiNASConfig, probabilities: Probabilities) -> Path:
    best: dict[int, tuple[float, Path]] = {0: (1.0, (0,))}
    for layer in range(config.layers):
        reached: dict[int, tuple[float, Path]] = {}
        for level, (product, path) in best.items():
            for move in config.moves(level):
                weight = probabilities[config.route(layer, level)][move] if len(config.factors) > 1 else 1.0
                after = level + MOVES[move]
                if after not in reached or product * weight > reached[after][0]:
                    reached[after] = (product * weight, (*path, after))
        best = reached
    return max(best.values(), key=lambda entry: entry[0])[1]


def _layerwise(config: HiNASConfig) -> Iterator[Arc]:
    # Later costs depend on the last two levels of a path, so paths that agree in them meet.
    ends: dict[Path, str] = {(0,): START}
    for layer in range(STEM + 1, config.layers + 1):
        states: dict[Path, str] = {}
        for before, source in ends.items():
            for move in config.moves(before[-1]):
                path = (*before, before[-1] + MOVES[move])
                target = states.setdefault(path[-2:], f"layer{layer}.{path[-2]}-{path[-1]}")
                picks = ((config.route(layer - 1, before[-1]), move),) if len(config.factors) > 1 else ()
                yield Arc(source, target, picks, projections(config, layer, path))
        ends = {}
        for path, source in states.items():
            ends[path] = END if layer == config.layers else f"{source}.end"
            yield from _cells(config, source, ends[path], [(layer, path[-1])])


def _tied(config: HiNASConfig) -> Iterator[Arc]:
    for layer in range(STEM + 1, config.layers + 1):
        for path in config.paths(layer):
            source = START if layer == STEM + 1 else _state(path[:-1])
            yield Arc(source, _state(path), config.route_picks(path)[-1:], projections(config, layer, path))
    for path in config.paths(config.layers):
        yield from _cells(config, _state(path), END, list(enumerate(path))[1:])


def _state(path: Path) -> str:
    return "path" + "-".join(map(str, path))


def _cells(config: HiNASConfig, start: str, end: str, places: Sequence[Place]) -> Iterator[Arc]:
    """The decisions of a cell that stands at all these places: one arc for each way to keep two predecessors."""
    rows = [priced(config, level) for _, level in places]
    for node in range(config.nodes):
        source = start if node == 0 else f"{start}.node{node}"
        target = end if node == config.nodes - 1 else f"{start}.node{node + 1}"
        for pair in itertools.combinations(sources(node), KEPT):
            for names in itertools.product(config.operations, repeat=KEPT):
                picks = node_picks(config, places[0][0], node, dict(zip(pair, names, strict=True)))
                keys = tuple(row[name] for row in rows for name in names if name in row)
                yield Arc(source, target, picks, keys, tuple(pick for pick in picks if pick[1] != NONE))
