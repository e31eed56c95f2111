"""The drawings of the methods' page are those of the genotypes beside them."""

import re

import pytest

from benchmarks.drawings import FOLDER, command, drawn
from search import METHODS, get_method
from search.drawing import load_genotype

NAMES = [method.name for method in METHODS]


@pytest.mark.parametrize("method", NAMES)
def test_nothing_is_left_to_draw(method: str) -> None:
    kept = (FOLDER / f"{method}.svg").read_text()
    assert drawn(method) == kept, "run python -m benchmarks.drawings"
    # The planted fault: one number of the picture changed by hand.
    changed = re.sub(r'width="(\d)', lambda m: f'width="{(int(m[1]) + 1) % 10}', kept, count=1)
    assert changed != kept


@pytest.mark.parametrize("method", NAMES)
def test_the_genotype_is_of_the_method(method: str) -> None:
    assert load_genotype(FOLDER / f"{method}.json").space == get_method(method).space
    assert command(method)[:4] == ["millisight", "search", "--method", method]
