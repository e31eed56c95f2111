import json
from pathlib import Path

import pytest

from search.files import write_json, write_text


def test_text_and_json_come_back_and_nothing_is_left_beside(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "grüße\n")
    write_json(tmp_path / "new" / "b.json", {"b": [1, 2.5, None]})
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "grüße\n"
    assert json.loads((tmp_path / "new" / "b.json").read_text()) == {"b": [1, 2.5, None]}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.txt", "b.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"kept": True})
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert json.loads(path.read_text()) == {"kept": True}
