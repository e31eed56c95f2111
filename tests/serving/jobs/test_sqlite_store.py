from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.jobs import open_store
from serving.jobs.errors import JobDamagedError, JobsUnavailableError
from serving.jobs.job import Job
from serving.jobs.sqlite_store import SqliteStore
from serving.settings import Settings


def a_job(name: str = "x") -> Job:
    return Job(id=name, owner="anna", task="derain", options=(), created=0, expires=1e12)


def test_a_removed_job_leaves_no_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.insert(a_job())
    store.blobs.writer("x", "half")  # never committed
    store.remove("x", None)
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize("damage", ["junk", "middle", "version"])
def test_an_unreadable_database_is_moved_aside(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = SqliteStore(tmp_path)
    for number in range(50):
        store.insert(a_job(str(number)))
    store.close()
    file = tmp_path / "jobs.db"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99" if damage == "version" else "PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    if damage == "junk":
        file.write_bytes(b"no database" * 1000)
    elif damage == "middle":
        content = bytearray(file.read_bytes())
        content[4096 : len(content) - 4096] = b"\xff" * (len(content) - 8192)
        file.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        fresh = SqliteStore(tmp_path)
    assert "cannot be read" in caplog.text
    assert fresh.job_ids() == []
    assert len(list(tmp_path.glob("jobs.unreadable-*.db"))) == 1
    fresh.insert(a_job())
    assert SqliteStore(tmp_path).job_ids() == ["x"]


@pytest.mark.slow
def test_many_processes_may_open_a_damaged_store_at_once(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database" * 1000)
    (tmp_path / "jobs.lock").write_bytes(b"no database either" * 1000)
    script = (
        "import sys, pathlib; from serving.jobs.sqlite_store import SqliteStore; SqliteStore(pathlib.Path(sys.argv[1]))"
    )
    started = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert len(list(tmp_path.glob("jobs.unreadable-*.db"))) == 1


def test_a_record_of_another_version_is_damaged_not_guessed(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store.insert(a_job())
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("UPDATE jobs SET document = json_set(document, '$.colour', 'blue')")
    with pytest.raises(JobDamagedError):
        store.load("x")


def test_a_store_that_stops_answering_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("DROP TABLE jobs")
    with pytest.raises(JobsUnavailableError) as raised:
        store.load("x")
    assert raised.value.headers["Retry-After"]


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match="MILLISIGHT_STATE"):
        open_store(Settings(state=tmp_path / "file"))
    with pytest.raises(SettingsError, match="switched off"):
        open_store(Settings(state=tmp_path, jobs="off"))
