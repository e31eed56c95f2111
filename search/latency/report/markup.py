"""HTML as a tree of elements: what comes from a file is escaped because there is no other way to put it in."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring


def add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """A new element at the end of `parent`; `class_` stands for the attribute `class`."""
    named = {name.rstrip("_"): value for name, value in attributes.items()}
    made = SubElement(parent, tag, named)
    made.text = text
    return made


def add_table(
    parent: Element, name: str, caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1
) -> Element:
    """A table that scrolls within itself where it is wider than the page.

    Args:
        parent: Where.
        name: Its id.
        caption: What it shows.
        header: Names of the columns.
        rows: Cells, as many in each as in `header`; the first of each row names it.
        texts: So many columns from the left are words, the others numbers, set to the right.
    """
    scrolling = add(parent, "div", class_="wide", tabindex="0", role="region")
    scrolling.set("aria-labelledby", f"{name}-caption")
    table = add(scrolling, "table", id=name)
    add(table, "caption", caption, id=f"{name}-caption")
    top = add(add(table, "thead"), "tr")
    for number, title in enumerate(header):
        add(top, "th", title, scope="col", class_="words" if number < texts else "number")
    body = add(table, "tbody")
    for cells in rows:
        row = add(body, "tr")
        for number, cell in enumerate(cells):
            kind = "words" if number < texts else "number"
            if number == 0:
                add(row, "th", cell, scope="row", class_=kind)
            else:
                add(row, "td", cell, class_=kind)
    return table


def to_html(root: Element) -> str:
    """The document as text."""
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"
