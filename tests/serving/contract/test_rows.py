"""No row of the contract is without a test."""

from __future__ import annotations

import re
from pathlib import Path

ROWS = range(1, 56)
HERE = Path(__file__).parent
TEST = re.compile(r"@pytest\.mark\.row\(([\d, ]+)\)\n(?:(?!def ).*\n)*?def (test_\w+)")


def rows_by_test(text: str) -> dict[str, list[int]]:
    """The rows each test of a file is marked with."""
    return {name: [int(row) for row in rows.split(",")] for rows, name in TEST.findall(text)}


def all_tests() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for file in sorted(HERE.glob("test_*.py")):
        found |= rows_by_test(file.read_text(encoding="utf-8"))
    return found


def test_every_row_has_a_test() -> None:
    covered = {row for rows in all_tests().values() for row in rows}
    assert covered == set(ROWS)


def test_names_and_marks_agree() -> None:
    for name, rows in all_tests().items():
        assert name.startswith("test_" + "_".join(f"{row:02d}" for row in rows) + "_"), name
    numbered = re.compile(r"^def (test_\d\d_\w+)\((?!\))", re.MULTILINE)
    for file in HERE.glob("test_*.py"):
        assert set(numbered.findall(text := file.read_text(encoding="utf-8"))) == set(rows_by_test(text)), file.name


def test_a_missing_row_would_be_seen() -> None:
    marks = "@pytest.mark.core\n@pytest.mark.row(1, 2)\n@x(\n  1,\n)\n"
    text = marks + "def test_01_02_a() -> None:\n\n\ndef test_b() -> None:\n"
    assert rows_by_test(text) == {"test_01_02_a": [1, 2]}
