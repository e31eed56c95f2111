"""What has been timed so far, on disk: measuring goes on where it was killed, and adds to a table that is there."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models import content_hash
from runtime import AnchorTiming, Timing, device_name, engine_version, read_conditions
from runtime.clock import clock_for
from runtime.host import describe_host
from runtime.target import Target
from search.errors import TableError
from search.files import write_json
from search.latency.stopwatch import Subject, measured
from search.latency.table import PROTOCOL, LatencyTable, Measured, Session


class Entry(BaseModel):
    """A timing and the sitting that it is of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    graph: str
    session: int
    timing: Timing


class Journal:
    """Finished timings of one measurement, kept beside the table until that is whole.

    Args:
        path: The journal's file.
        target: Where is measured; a journal of another target, engine version or protocol is left aside.
        table: A table that is added to: its timings count as done.
        code_version: Recorded with this sitting.

    Raises:
        TableError: `table` was measured on another target, device or engine.
    """

    def __init__(self, path: Path, target: Target, table: LatencyTable | None, code_version: str) -> None:
        self._path = path
        self._now = _session(target, code_version)
        self.sessions: list[Session] = []
        self.entries: dict[str, Entry] = {}
        self._anchors: list[AnchorTiming] = []
        self._began: int | None = None
        self._reference: float | None = None
        if table is not None:
            self._take(table, target)
        self._key = content_hash([PROTOCOL, target.slug, self._source(self._now), table.id if table else None])
        if path.is_file():
            content = json.loads(path.read_text())
            if content.get("key") == self._key:
                self.sessions = [Session.model_validate(session) for session in content["sessions"]]
                self.entries = {name: Entry.model_validate(entry) for name, entry in content["entries"].items()}

    @property
    def anchor_ms(self) -> float:
        """What all milliseconds refer to: the anchor in the quieter moments of the first sitting."""
        return self._reference or self.sessions[0].anchor_ms

    def known(self, size: tuple[int, int], subject: Subject) -> bool:
        """Is there a timing of this very graph at this size?"""
        entry = self.entries.get(_name(size, subject.id))
        return entry is not None and entry.graph == subject.hash

    def keep(
        self, size: tuple[int, int], subjects: list[Subject], timings: Mapping[str, Timing], anchor: AnchorTiming
    ) -> None:
        """Add timings and write them to disk; of two of the same graph the one with the smaller error stays."""
        if self._began is None:
            self._began = len(self.sessions)
            self.sessions.append(self._now)
        self._anchors.append(anchor)
        self.sessions[self._began] = self._now.model_copy(update=_quiet(self._anchors))
        for subject in subjects:
            timing = timings[subject.id]
            name = _name(size, subject.id)
            if self.known(size, subject) and self.entries[name].timing.error <= timing.error:
                continue
            self.entries[name] = Entry(graph=subject.hash, session=self._began, timing=timing)
        write_json(
            self._path,
            {
                "key": self._key,
                "sessions": [session.model_dump(mode="json") for session in self.sessions],
                "entries": {name: entry.model_dump(mode="json") for name, entry in self.entries.items()},
            },
        )

    def ratio(self, size: tuple[int, int], subject: Subject) -> float:
        """What a graph took, as a multiple of the anchor."""
        return self.entries[_name(size, subject.id)].timing.ratio

    def measured(self, size: tuple[int, int], subject: Subject) -> Measured:
        """A timing in the table's terms."""
        entry = self.entries[_name(size, subject.id)]
        return measured(subject, entry.timing, self.anchor_ms, entry.session)

    def unstable(self, size: tuple[int, int], subjects: list[Subject]) -> list[Subject]:
        """Those whose timing of this sitting did not settle, the worst first."""
        found = [(self.entries[_name(size, subject.id)], subject) for subject in subjects]
        loose = [(-entry.timing.error, n) for n, (entry, _) in enumerate(found) if not entry.timing.stable]
        return [found[n][1] for _, n in sorted(loose) if found[n][0].session == self._began]

    def close(self) -> None:
        """The table is written; the journal is no longer needed."""
        self._path.unlink(missing_ok=True)

    def _take(self, table: LatencyTable, target: Target) -> None:
        wanted, found = self._source(self._now), self._source(table.session)
        if table.target != target.slug or wanted != found or table.protocol != PROTOCOL:
            raise TableError(
                f"the table there is of {table.target}, {', '.join(found)}, {table.protocol}; this is {target.slug}, "
                f"{', '.join(wanted)}, {PROTOCOL}. Tables never mix: choose another --out, or replace it with --anew"
            )
        self.sessions, self._reference = list(table.sessions), table.anchor_ms
        for height, width, entry in _placed(table):
            kept = entry.model_dump(include={"error", "raw_ms", "spread", "runs", "stable"})
            timing = Timing(ratio=entry.ms / table.anchor_ms, **kept)
            self.entries[_name((height, width), entry.id)] = Entry(
                graph=entry.graph, session=entry.session, timing=timing
            )

    @staticmethod
    def _source(session: Session) -> list[str]:
        return [session.engine, session.device, session.clock]


def _session(target: Target, code_version: str) -> Session:
    return Session(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        code_version=code_version,
        engine=engine_version(target),
        host=describe_host(),
        device=device_name(target),
        conditions=read_conditions(target),
        clock=clock_for(target).name,
        anchor_ms=1.0,
        disturbance=0.0,
    )


def _quiet(anchors: Sequence[AnchorTiming]) -> dict[str, Any]:
    """What the anchor took in the quieter moments of a sitting: a quarter of all runs were in batches as quiet as that.

    Not the very quietest: a promise made from the best moment that a machine ever has is kept in that moment only.
    """
    runs = sum(anchor.runs for anchor in anchors)
    passed = 0
    for anchor in sorted(anchors, key=lambda anchor: anchor.ms):
        passed += anchor.runs
        if 4 * passed >= runs:
            break
    median = sum(anchor.median_ms * anchor.runs for anchor in anchors) / runs
    return {"anchor_ms": anchor.ms, "disturbance": max(0.0, median / anchor.ms - 1.0)}


def _placed(table: LatencyTable) -> list[tuple[int, int, Measured]]:
    """Every timing with the (height, width) of the network's input."""
    found = [(size.height, size.width, e) for size in table.sizes for e in (*size.chains, *size.calibration.networks)]
    return found + [(check.height, check.width, e) for check in table.checks for e in check.networks]


def _name(size: tuple[int, int], subject: str) -> str:
    return f"{size[1]}x{size[0]}/{subject}"
