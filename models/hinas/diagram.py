"""The HiNAS space as a picture: the path through layers and widths, and below it the cell of each layer."""

from collections.abc import Iterator, Mapping

from models.diagram import HEADER, Box, Diagram, Frame, Kind, Link, operation_kinds
from models.hinas.config import KEPT, MOVES, NONE, STEM, HiNASConfig, Path, sources

CELL = Kind("cell", "the cell of a layer, at the width of its level")
PITCH = 1.9
"""Columns from one layer to the next."""
LEVEL = 1.3
"""Rows from one level to the next."""
PAGE = 16
"""Columns of a page of cells."""


def hinas_diagram(config: HiNASConfig, picks: Mapping[str, str]) -> Diagram:
    """All levels of all layers with the found path among them, then the found cells."""
    path = _path(config, picks)
    boxes, links = list(_grid(config, path)), list(_routes(config, path))
    boxes += _ends(config)
    far = f"layer{config.layers}.level{path[-1]}"
    skip = "add bicubic enlargement" if config.scale > 1 else "subtract the prediction"
    links += [
        Link("input", "stem"),
        Link(far, "decoder"),
        Link("decoder", "output"),
        Link("stem", "decoder", "joined with the last cell", way="over", lift=0.3),
        Link("input", "output", skip, way="over", lift=0.9),
    ]
    frames = list(_frames(config, LEVEL * len(config.factors) + 0.6))
    for layer, frame in enumerate(frames, start=STEM + 1):
        boxes += _cell_boxes(config, picks, layer, frame)
        links += _cell_links(config, picks, layer)
    kinds = (CELL, *operation_kinds((*config.operations, NONE)))
    return Diagram(tuple(boxes), tuple(links), "cells on a path of widths", tuple(frames), kinds)


def _frames(config: HiNASConfig, top: float) -> Iterator[Frame]:
    """One for each cell that decides for itself, side by side as far as the page is wide."""
    width, height = 2 * config.nodes + 3.2, HEADER + 2 * config.nodes + 1.2
    beside = max(1, int(PAGE // (width + 0.4)))
    for number in range(1 if config.tied else config.layers):
        name = "all layers" if config.tied else f"layer {number + 1}"
        column, row = (width + 0.4) * (number % beside), top + (height + 0.4) * (number // beside)
        yield Frame(f"cell{number + 1}", column, row, width, height, f"cell of {name}")


def _path(config: HiNASConfig, picks: Mapping[str, str]) -> Path:
    path: Path = (0,)
    for layer in range(config.layers):
        move = picks[config.route(layer, path[-1])] if len(config.factors) > 1 else "same"
        path = (*path, path[-1] + MOVES[move])
    return path


def _ends(config: HiNASConfig) -> Iterator[Box]:
    near, far = config.decoder
    last = PITCH * (config.layers + 1) + 1.2
    tail = f"to {3 * config.scale**2}" + (", pixel shuffle" if config.scale > 1 else "")
    yield Box("input", 0, 0, "input", width=0.8)
    detail = f"{config.stem_channels}, then {config.output_width(STEM, 0)} ch"
    yield Box("stem", 1.2, 0, "stem", detail=detail, width=1.3)
    yield Box("decoder", last, 0, "decoder", detail=f"{near} + {far} ch {tail}", width=1.5)
    yield Box("output", last + 2.0, 0, "output", width=0.8)


def _grid(config: HiNASConfig, path: Path) -> Iterator[Box]:
    for layer in range(STEM + 1, config.layers + 1):
        # A path climbs one level per layer at most.
        for level in range(min(layer + 1, len(config.factors))):
            yield Box(
                f"layer{layer}.level{level}",
                1.2 + PITCH * layer,
                LEVEL * level,
                f"cell of layer {layer}",
                CELL.name,
                f"{config.nodes} x {config.width(level)} ch",
                width=1.3,
                part=path[layer] == level,
            )


def _routes(config: HiNASConfig, path: Path) -> Iterator[Link]:
    for layer in range(config.layers):
        for level in range(min(layer + 1, len(config.factors))):
            for move in config.moves(level):
                after = level + MOVES[move]
                taken = (path[layer], path[layer + 1]) == (level, after)
                chosen = taken and len(config.factors) > 1
                source = "stem" if layer == STEM else f"layer{layer}.level{level}"
                yield Link(
                    source,
                    f"layer{layer + 1}.level{after}",
                    move if chosen else "",
                    taken,
                    picks=((config.route(layer, level), move),) if chosen else (),
                )


def _state(layer: int, source: int) -> str:
    """Id of what an edge comes from: the cell's inputs, then its nodes."""
    return f"cell{layer}.input{source}" if source < KEPT else f"cell{layer}.node{source - KEPT}"


def _kept(config: HiNASConfig, picks: Mapping[str, str], layer: int, node: int) -> list[int]:
    return [source for source in sources(node) if picks[config.edge(layer, node, source)] != NONE]


def _input_name(config: HiNASConfig, layer: int, source: int) -> str:
    before = layer - KEPT + source
    if config.tied:
        return f"layer - {KEPT - source}"
    return f"layer {before}" if before > STEM else "stem" if before == STEM else "stem, hidden"


def _cell_boxes(config: HiNASConfig, picks: Mapping[str, str], layer: int, frame: Frame) -> Iterator[Box]:
    """Stairs: each node stands right of and below what it may come from, so that no link crosses a box."""
    left, row = frame.column, frame.row + HEADER
    for source in range(KEPT):
        yield Box(_state(layer, source), left + 0.1 + source, row, _input_name(config, layer, source), height=0.9)
    for node in range(config.nodes):
        for place, source in enumerate(_kept(config, picks, layer, node)):
            edge = config.edge(layer, node, source)
            name = picks[edge]
            column = left + 2.1 + 2 * node
            yield Box(f"cell{layer}.{edge}", column, row + 1 + 2 * node + place, name, name, picks=((edge, name),))
        column = left + 3.1 + 2 * node
        yield Box(_state(layer, KEPT + node), column, row + 1.5 + 2 * node, f"node {node}", detail="sum")
    column, height = left + 2.1 + 2 * config.nodes, 2.0 * config.nodes
    yield Box(f"cell{layer}.output", column, row + 1, "all nodes", detail="side by side", height=height)


def _cell_links(config: HiNASConfig, picks: Mapping[str, str], layer: int) -> Iterator[Link]:
    for node in range(config.nodes):
        here = _state(layer, KEPT + node)
        kept = _kept(config, picks, layer, node)
        for source in sources(node):
            edge = config.edge(layer, node, source)
            if source in kept:
                yield Link(_state(layer, source), f"cell{layer}.{edge}", way="elbow")
                yield Link(f"cell{layer}.{edge}", here)
            else:
                yield Link(_state(layer, source), here, part=False, way="elbow", picks=((edge, NONE),))
        yield Link(here, f"cell{layer}.output")
