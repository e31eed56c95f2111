"""The methods' page says what is there: sizes that are counted, settings that are read."""

import re

import pytest

from benchmarks.methods_page import PAGE, fill
from search import METHODS


def test_sizes_and_settings_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    # The planted fault: one number changed by hand is put right; everything else stays.
    changed = re.sub(r"(\| clearer \|.*? )4,096 ", lambda found: f"{found[1]}4,097 ", text, count=1)
    assert changed != text
    assert fill(changed) == text, "run python -m benchmarks.methods_page"


def test_a_page_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no block sizes"):
        fill("nothing")


def test_every_method_has_a_section_and_a_drawing() -> None:
    text = PAGE.read_text()
    for method in METHODS:
        assert f"\n## {method.name}\n" in text
        assert f"](methods/{method.name}.svg)" in text
        assert method.reference.partition(":")[0].split(",")[0].split()[0] in text
