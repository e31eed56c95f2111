"""SVG files of every space: well-formed, complete, self-contained."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from models import Genotype, get_space, spaces
from models.diagram import Box, Diagram, Kind, Link
from search import SearchError
from search.drawing import PALETTE, draw_svg, genotype_diagram, load_genotype
from search.svg import NAMESPACE

CASES = [(name, values) for name, space in spaces().items() for values in space.examples]
TAG = f"{{{NAMESPACE}}}"


def genotype_of(name: str, values: dict[str, Any], seed: int = 0) -> Genotype:
    space = get_space(name)
    config = space.parse_config(values)
    return space.genotype(config, space.reached(config, space.random_picks(config, np.random.default_rng(seed))))


def words(root: ElementTree.Element) -> set[str]:
    """Words on boxes and beside links; those of the legend, which names everything, are in groups without a tip."""
    legend = {id(text) for group in root.iter(f"{TAG}g") if group.find(f"{TAG}title") is None for text in group}
    shown = (text.text or "" for text in root.iter(f"{TAG}text") if id(text) not in legend)
    return {word for line in shown for word in line.split()}


def tips(root: ElementTree.Element) -> set[str]:
    return {tip for title in root.iter(f"{TAG}title") for tip in (title.text or "").split("; ")}


def missing(root: ElementTree.Element, genotype: Genotype) -> list[str]:
    """Picks that are not to be read, or have no tip. A dropped edge is a pale line, with a tip alone."""
    seen, told = words(root), tips(root)
    return [
        f"{choice}: {name}"
        for choice, name in genotype.picks.items()
        if f"{choice}: {name}" not in told or (name not in seen and name != "none")
    ]


def rectangles(root: ElementTree.Element) -> Iterator[tuple[float, float, float, float]]:
    for rect in root.iter(f"{TAG}rect"):
        if "x" in rect.attrib:
            x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
            yield x, y, x + width, y + height


@pytest.mark.parametrize(("name", "values"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_space_draws_what_was_picked(name: str, values: dict[str, Any]) -> None:
    for seed in range(3):
        genotype = genotype_of(name, values, seed)
        root = ElementTree.fromstring(draw_svg(genotype_diagram(genotype)))
        assert root.tag == f"{TAG}svg"
        assert missing(root, genotype) == []
        width, height = (float(root.attrib[key]) for key in ("width", "height"))
        assert all(x >= 0 and y >= 0 and u <= width and v <= height for x, y, u, v in rectangles(root))
        used = {element.tag.removeprefix(TAG) for element in root.iter()}
        assert used <= {"svg", "g", "title", "defs", "marker", "rect", "path", "text"}
        assert not any("href" in key or key.startswith("on") for element in root.iter() for key in element.attrib)


def test_a_pick_that_is_not_drawn_is_noticed() -> None:
    """The planted fault: one box forgotten."""
    genotype = genotype_of("clearer", dict(get_space("clearer").examples[0]))
    diagram = genotype_diagram(genotype)
    first = next(box for box in diagram.boxes if box.picks)
    forgotten = replace(diagram, boxes=tuple(replace(box, picks=()) if box is first else box for box in diagram.boxes))
    assert missing(ElementTree.fromstring(draw_svg(forgotten)), genotype) == [": ".join(first.picks[0])]


def test_names_that_mean_something_in_xml_stay_names() -> None:
    diagram = Diagram((Box("a<b", 0, 0, '<script>"&', "k&"),), (), "1 < 2", kinds=(Kind("k&", "</svg>"),))
    root = ElementTree.fromstring(draw_svg(diagram))
    assert '<script>"&' in {text.text for text in root.iter(f"{TAG}text")}


def test_every_kind_has_a_colour_of_its_own() -> None:
    count = len(PALETTE) + 8
    kinds = tuple(Kind(f"kind{n}", "") for n in range(count))
    boxes = tuple(Box(f"box{n}", n, 0, "", f"kind{n}") for n in range(count))
    root = ElementTree.fromstring(draw_svg(Diagram(boxes, (), "many", kinds=kinds)))
    strokes = [rect.attrib["stroke"] for group in root.iter(f"{TAG}g") for rect in group.findall(f"{TAG}rect")]
    legend = strokes[count : 2 * count]
    assert strokes[:count] == legend
    assert all(a != b for a, b in combinations(legend, 2))


def test_what_is_no_part_is_pale_and_beneath() -> None:
    boxes = (Box("in", 0, 0, "in"), Box("out", 2, 0, "out", part=False))
    links = (Link("in", "out"), Link("in", "out", part=False, way="over"))
    root = ElementTree.fromstring(draw_svg(Diagram(boxes, links, "x")))
    drawn = [path.attrib["marker-end"] for path in root.iter(f"{TAG}path") if "marker-end" in path.attrib]
    assert drawn == ["url(#pale-arrow)", "url(#arrow)"]
    labels = [text for text in root.iter(f"{TAG}text") if text.text in ("in", "out")]
    assert [text.text for text in labels] == ["out", "in"]
    assert len({text.attrib["fill"] for text in labels}) == 2


def test_the_note_says_how_large_and_how_fast() -> None:
    genotype = genotype_of("unet", {"channels": (16,), "blocks": 1}).model_copy(update={"expected_ms": 12.345})
    note = genotype_diagram(genotype).note
    assert "predicted 12.35 ms" in note or "predicted 12.34 ms" in note
    assert "parameters" in note


class TestFiles:
    """Genotypes from disk."""

    def test_a_file_or_the_folder_of_a_run(self, tmp_path: Path) -> None:
        genotype = genotype_of("unet", {"channels": (16,), "blocks": 1})
        (tmp_path / "genotype.json").write_text(genotype.to_json())
        assert load_genotype(tmp_path) == load_genotype(tmp_path / "genotype.json") == genotype

    def test_a_folder_without_one(self, tmp_path: Path) -> None:
        with pytest.raises(SearchError, match="no genotype at"):
            load_genotype(tmp_path)

    def test_a_genotype_of_another_version(self) -> None:
        genotype = genotype_of("unet", {"channels": (16,), "blocks": 1}).model_copy(update={"version": 99})
        with pytest.raises(SearchError, match="unet v99"):
            genotype_diagram(genotype)

    def test_a_genotype_of_no_space(self) -> None:
        genotype = genotype_of("unet", {"channels": (16,), "blocks": 1}).model_copy(update={"space": "nope"})
        with pytest.raises(SearchError, match="unknown space 'nope'"):
            genotype_diagram(genotype)
