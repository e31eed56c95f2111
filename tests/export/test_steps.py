"""Kept results are found again, and only where nothing that they came from has changed."""

from pathlib import Path

import pytest

from export import Step, StepStore
from runtime import EngineRecord, StepRecord

ENGINE = EngineRecord(
    file="e.engine", backend="cuda-tensorrtrtx", precision="fp16", source="s", version="v", capabilities=("8.6",),
    smallest=(1, 8, 8), usual=(1, 8, 8), largest=(1, 8, 8),
)  # fmt: skip


class Work:
    """A step that counts how often it is done."""

    def __init__(self, status: str = "ok", content: bytes = b"made") -> None:
        self.done = 0
        self._record = StepRecord.model_validate({"name": "int8", "status": status, "why": "so", "db_lost": 0.25})
        self._content = content

    def __call__(self) -> Step:
        self.done += 1
        return Step(self._record, self._content, ENGINE)


def test_what_was_done_is_found_again_by_another_store(tmp_path: Path) -> None:
    work, said = Work(), list[str]()
    first = StepStore(tmp_path / "w").do("int8", {"model": "a"}, work)
    again = StepStore(tmp_path / "w", lambda record: said.append(record.name)).do("int8", {"model": "a"}, work)
    assert work.done == 1
    assert again == first
    assert (again.content, again.engine, again.record.db_lost) == (b"made", ENGINE, 0.25)
    assert said == ["int8"]
    assert StepStore(tmp_path / "w").path("int8").read_bytes() == b"made"


@pytest.mark.parametrize("inputs", [{"model": "b"}, {"model": "a", "onnxslim": "4"}, {}])
def test_other_inputs_are_another_step(tmp_path: Path, inputs: dict[str, str]) -> None:
    work, store = Work(), StepStore(tmp_path)
    store.do("int8", {"model": "a"}, work)
    store.do("int8", inputs, work)
    assert work.done == 2


def test_another_name_is_another_step(tmp_path: Path) -> None:
    work, store = Work(), StepStore(tmp_path)
    store.do("run cpu-openvino-int8", {}, work)
    store.do("run cpu-openvino-fp32", {}, work)
    store.do("run cpu-openvino-int8", {}, work)
    assert work.done == 2


@pytest.mark.parametrize(("status", "times"), [("ok", 1), ("dropped", 1), ("failed", 2), ("skipped", 2)])
def test_what_failed_or_was_skipped_is_tried_again(tmp_path: Path, status: str, times: int) -> None:
    work, store = Work(status), StepStore(tmp_path)
    for _ in range(2):
        assert store.do("int8", {}, work).record.status == status
    assert work.done == times


@pytest.mark.parametrize("damage", [b"", b"madf", b"mad"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes) -> None:
    work, store = Work(), StepStore(tmp_path)
    store.do("int8", {}, work)
    store.path("int8").write_bytes(damage)
    assert store.do("int8", {}, work).content == b"made"
    assert work.done == 2


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"key": "x"}', '{"content": 1}'])
def test_a_damaged_note_is_no_result(tmp_path: Path, note: str) -> None:
    work, store = Work(), StepStore(tmp_path)
    store.do("int8", {}, work)
    store.path("int8").with_suffix(".json").write_text(note)
    store.do("int8", {}, work)
    assert work.done == 2


def test_a_kill_between_file_and_note_leaves_no_result(tmp_path: Path) -> None:
    work, store = Work(), StepStore(tmp_path)
    store.do("int8", {"model": "a"}, work)
    store.path("int8").write_bytes(b"of the next inputs, whose note was never written")
    assert store.do("int8", {"model": "a"}, work).content == b"made"
    assert work.done == 2


def test_a_step_without_a_file_has_none(tmp_path: Path) -> None:
    work, store = Work(content=b""), StepStore(tmp_path)
    store.do("fold", {}, work)
    assert store.do("fold", {}, work).content == b""
    assert work.done == 1
    assert not store.path("fold").exists()
