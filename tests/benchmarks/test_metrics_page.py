"""The metrics' page lists what is exported."""

import pytest

from benchmarks.metrics_page import PAGE, fill


def test_the_tables_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    # The planted fault: a metric that somebody took out of the page by hand comes back.
    changed = "".join(line for line in text.splitlines(keepends=True) if "`restore_late_total`" not in line)
    assert changed != text
    assert fill(changed) == text, "run python -m benchmarks.metrics_page"


def test_a_page_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no block service"):
        fill("nothing")
