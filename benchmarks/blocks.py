"""Marked blocks of a page: text between `<!-- name -->` and `<!-- /name -->` is made, not written."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["fill_blocks"]


def fill_blocks(text: str, blocks: Iterable[tuple[str, Callable[[], str]]], page: Path) -> str:
    """The text with every block made anew.

    Args:
        text: Of the page.
        blocks: Name of each, and what makes its content.
        page: Named in the error.

    Raises:
        ValueError: The page lacks a block.
    """
    for name, make in blocks:
        pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{page.name} has no block {name}")
        marked = f"<!-- {name} -->\n{make()}\n<!-- /{name} -->"
        text = pattern.sub(lambda _, marked=marked: marked, text)  # type: ignore[misc]
    return text
