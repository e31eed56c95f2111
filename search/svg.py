"""A few elements of SVG 1.1, as plain XML: no scripts, no fonts or pictures from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

NAMESPACE = "http://www.w3.org/2000/svg"
FONT = "Verdana, DejaVu Sans, Helvetica, sans-serif"
LETTER = 0.62
"""Mean width of a letter over its size, of the fonts above, rather too large than too small."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Rectangle:
    """In pixels; y grows downwards."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Bottom edge."""
        return self.top + self.height

    @property
    def centre(self) -> Point:
        """Its middle."""
        return self.left + self.width / 2, self.top + self.height / 2


def document(width: float, height: float) -> Element:
    """An empty picture of this size on a white ground."""
    size = {"width": _number(width), "height": _number(height), "viewBox": f"0 0 {_number(width)} {_number(height)}"}
    root = Element("svg", {"xmlns": NAMESPACE, **size, "font-family": FONT})
    SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    return root


def arrow_head(root: Element, name: str, colour: str) -> None:
    """Define an arrow head that paths can end in."""
    definitions = SubElement(root, "defs")
    shape = {"viewBox": "0 0 8 8", "refX": "7", "refY": "4", "markerWidth": "6", "markerHeight": "6", "orient": "auto"}
    marker = SubElement(definitions, "marker", {"id": name, **shape})
    SubElement(marker, "path", {"d": "M 0 0 L 8 4 L 0 8 z", "fill": colour})


def group(parent: Element, title: str = "") -> Element:
    """A group; its title is shown by viewers when the pointer is over it."""
    found = SubElement(parent, "g")
    if title:
        SubElement(found, "title").text = title
    return found


def rectangle(parent: Element, place: Rectangle, fill: str, stroke: str, *, radius: float = 4, dash: str = "") -> None:
    """A rectangle with round corners."""
    box = {"x": place.left, "y": place.top, "width": place.width, "height": place.height, "rx": radius}
    style = {"fill": fill, "stroke": stroke} | ({"stroke-dasharray": dash} if dash else {})
    SubElement(parent, "rect", {**{name: _number(value) for name, value in box.items()}, **style})


def text(
    parent: Element, place: Point, content: str, size: float, colour: str, *, anchor: str = "middle", bold: bool = False
) -> None:
    """One line, standing on `place`."""
    style = {"font-size": _number(size), "fill": colour, "text-anchor": anchor} | (
        {"font-weight": "bold"} if bold else {}
    )
    SubElement(parent, "text", {"x": _number(place[0]), "y": _number(place[1]), **style}).text = content


def path(parent: Element, points: str, colour: str, width: float, head: str) -> None:
    """A line that ends in an arrow head; `points` as in the SVG attribute `d`."""
    style = {"fill": "none", "stroke": colour, "stroke-width": _number(width), "marker-end": f"url(#{head})"}
    SubElement(parent, "path", {"d": points, **style})


def curve(start: Point, end: Point, *, vertical: bool = False) -> str:
    """A curve that leaves and arrives at right angles to the sides that it joins."""
    (x, y), (u, v) = start, end
    reach = max(12.0, abs(v - y if vertical else u - x) / 2) * (-1 if vertical and v < y else 1)
    first, second = ((x, y + reach), (u, v - reach)) if vertical else ((x + reach, y), (u - reach, v))
    return f"M {_point(start)} C {_point(first)}, {_point(second)}, {_point(end)}"


def bend(start: Point, end: Point) -> str:
    """A curve that leaves to the right and arrives vertically."""
    (x, y), (u, v) = start, end
    first, second = (x + 0.6 * (u - x), y), (u, v + 0.4 * (y - v))
    return f"M {_point(start)} C {_point(first)}, {_point(second)}, {_point(end)}"


def polyline(points: Sequence[Point]) -> str:
    """Straight lines from point to point."""
    return "M " + " L ".join(_point(point) for point in points)


def to_string(root: Element) -> str:
    """The file's text."""
    indent(root, " ")
    return tostring(root, encoding="unicode") + "\n"


def text_width(content: str, size: float) -> float:
    """Pixels that a line takes, about."""
    return LETTER * size * len(content)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _point(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"
