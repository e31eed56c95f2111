"""The folder in which the workers of one server write their metrics, and who of them lives.

prometheus_client names a worker's files by a word of our choice: the worker's number. A worker that takes the place of
one that died goes on in its files: counters go on where they stood, and no file is added, however often workers die.
Files named by process would stay for good, and every scrape would read all of them.

Each worker also leaves a note of its process. Gauges of "live" modes count only while that process lives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.guard.identity import logger
from serving.processes import ProcessId

__all__ = ["MetricsFolder", "Worker"]

_NOTE = ".worker"
_NEW = ".new"
_VALUES = ".db"
_LIVE = "gauge_live"


class Worker(BaseModel):
    """What a worker leaves beside its files.

    Attributes:
        process: That writes them.
        started_s: When it began, seconds since 1970; None where the system does not tell. Written down once: worked out
            again, it would move when the machine's clock is set, and look as if the worker had been replaced.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    process: ProcessId
    started_s: float | None

    @classmethod
    def own(cls) -> Worker:
        """The process that asks."""
        process = ProcessId.own()
        return cls(process=process, started_s=process.start_time())


class MetricsFolder:
    """The folder, as one worker sees it.

    Args:
        path: Shared by the workers of one server, and wiped by BentoML before the first of them starts.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def claim(self, number: int) -> str:
        """Takes a worker's place: its counters go on, its gauges begin anew.

        To be called before the first metric is made.

        Args:
            number: Of the worker, from 1; the supervisor gives that of a dead worker to its successor.

        Returns:
            What tells this worker from the others, in the names of its files and as a label.
        """
        own = Worker.own()
        label = str(number)
        holder = self.living().get(label)
        if holder is not None and holder.process != own.process:
            # Two servers in one folder. Writing into one file together would damage it, for both.
            label = f"{number}-{own.process.pid}"
            logger.warning(
                "Worker %d writes its metrics as %r: process %d has that place in %s. Give each server a BENTOML_HOME.",
                number,
                label,
                holder.process.pid,
                self._path,
            )
        # Before the note: a gauge of the dead must never look like one of the living.
        for file in self._path.glob(f"{_LIVE}*_{label}{_VALUES}"):
            file.unlink()
        new = self._path / f"{label}{_NOTE}{_NEW}"
        new.write_text(own.model_dump_json())
        os.replace(new, self._path / f"{label}{_NOTE}")
        return label

    def living(self) -> Mapping[str, Worker]:
        """The workers that live, by their labels."""
        found = {}
        for file in sorted(self._path.glob(f"*{_NOTE}")):
            worker = _read(file)
            if worker is not None and worker.process.lives():
                found[file.stem] = worker
        return found

    def files(self) -> list[str]:
        """Paths of the files that count now: all but the live gauges of workers that do not live.

        A file without bytes belongs to a worker that has just made it, or was killed just then; it holds nothing, and
        prometheus_client cannot read it.
        """
        living = self.living()
        found = []
        for file in sorted(self._path.glob(f"*{_VALUES}")):
            dead = file.stem.startswith(_LIVE) and file.stem.rpartition("_")[2] not in living
            if not dead and _size(file) > 0:
                found.append(str(file))
        return found


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # a gauge's, that the worker of this place has just thrown away


def _read(file: Path) -> Worker | None:
    try:
        return Worker.model_validate_json(file.read_text())
    except (FileNotFoundError, ValidationError):
        return None  # of a server that was started in the same folder and wiped it, or not one of ours
