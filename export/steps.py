"""Results of steps, kept in a folder: a killed export goes on, and a repeated one does only what is new."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models import content_hash
from runtime import EngineRecord, StepRecord

KEPT = ("ok", "dropped")
"""What is kept: a step that failed or was skipped is tried again, for what it lacked may be there by then."""


@dataclass(frozen=True)
class Step:
    """What a step came to.

    Attributes:
        record: What is said of it.
        content: The file it made, empty if none.
        engine: What is said of that file if it is an engine.
    """

    record: StepRecord
    content: bytes = b""
    engine: EngineRecord | None = None

    @property
    def ok(self) -> bool:
        """Whether its result may be used."""
        return self.record.status == "ok"


class StepStore:
    """The folder of an export that may be interrupted.

    A result counts as long as nothing that it came from has changed: it is found by a hash of the step's inputs,
    settings and the versions of the packages that did it. A damaged or half-written result is no result.

    Args:
        folder: Made when the first result is kept.
        on_step: Called with the record of every step, done now or found.
        on_start: Called with the name of a step before it is done.
    """

    def __init__(
        self,
        folder: Path,
        on_step: Callable[[StepRecord], None] = lambda _: None,
        on_start: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder, self._on_step, self._on_start = folder, on_step, on_start

    def do(self, name: str, inputs: Mapping[str, Any], work: Callable[[], Step]) -> Step:
        """The step's result: the kept one, or that of doing it now.

        Args:
            name: Of the step.
            inputs: JSON of everything its result follows from.
            work: Does it.
        """
        key = content_hash({"step": name, **inputs})
        found = self._load(name, key)
        if found is None:
            self._on_start(name)
            start = time.perf_counter()
            done = work()
            seconds = round(time.perf_counter() - start, 3)
            found = replace(done, record=done.record.model_copy(update={"seconds": seconds}))
            if found.record.status in KEPT:
                self._keep(name, key, found)
        self._on_step(found.record)
        return found

    def say(self, record: StepRecord) -> Step:
        """A step that nothing was done for: skipped, and why."""
        self._on_step(record)
        return Step(record)

    def path(self, name: str) -> Path:
        """Where the file that a step made is kept."""
        return self._folder / f"{name.replace(' ', '-')}.bin"

    def _load(self, name: str, key: str) -> Step | None:
        file = self.path(name)
        note = file.with_suffix(".json")
        try:
            said = json.loads(note.read_bytes())
            content = file.read_bytes() if said["content"] else b""
            if said["key"] != key or said["content"] != _digest(content):
                return None
            engine = None if said["engine"] is None else EngineRecord.model_validate(said["engine"])
            return Step(StepRecord.model_validate(said["record"]), content, engine)
        except (FileNotFoundError, ValueError, KeyError, TypeError, ValidationError):
            return None

    def _keep(self, name: str, key: str, step: Step) -> None:
        file = self.path(name)
        note = file.with_suffix(".json")
        self._folder.mkdir(parents=True, exist_ok=True)
        if step.content:
            _replace(file, step.content)
        said = {
            "key": key,
            "record": step.record.model_dump(mode="json"),
            "engine": None if step.engine is None else step.engine.model_dump(mode="json"),
            "content": _digest(step.content),
        }
        # Last: a result whose note is not there was never kept.
        _replace(note, json.dumps(said, indent=1).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if content else ""


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.writing")
    partial.write_bytes(content)
    partial.replace(path)
