"""The default store: one SQLite file beside the files of the jobs, shared by all workers of one machine.

WAL mode, short transactions, a connection for each thread. The folder must be on a local disk: WAL needs shared memory.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serving.jobs.blobs import FileBlobs
from serving.jobs.errors import JobMissingError, JobsFullError, JobsUnavailableError
from serving.jobs.job import FileStatus, Job
from serving.jobs.store import Candidate, Change, Holdings, Tombstone, parse_job

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_BUSY_S = 10.0
# `claim_at` and the columns after it repeat what the document says, for the queries that look at many jobs.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, document TEXT NOT NULL, version INTEGER NOT NULL, held INTEGER NOT NULL,
    claim_at REAL, owner TEXT NOT NULL, served REAL NOT NULL, expires REAL NOT NULL, finished INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS jobs_by_claim ON jobs (claim_at) WHERE claim_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_expiry ON jobs (expires);
CREATE TABLE IF NOT EXISTS owners (name TEXT PRIMARY KEY, served REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (id TEXT PRIMARY KEY, owner TEXT, why TEXT NOT NULL, until REAL NOT NULL)
WITHOUT ROWID;
"""


class SqliteStore:
    """Jobs in `<folder>/jobs.db`, their files in `<folder>/files/`; see `store.Store`.

    A database that cannot be read is moved aside with a warning in the log, and an empty one takes its place: the
    service goes on, and the jobs whose files are still there answer 410.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.db"
        self._blobs = FileBlobs(folder / "files")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder / "jobs.lock"):
            try:
                _prepare(self._path)
            except sqlite3.OperationalError:  # locked, or no permission: nothing is wrong with the file
                raise
            except sqlite3.DatabaseError as error:
                _move_aside(self._path, error)
                _prepare(self._path)

    @property
    def blobs(self) -> FileBlobs:
        """The files of the jobs."""
        return self._blobs

    def insert(self, job: Job) -> None:
        """Adds a job, then its folder: a folder without a job is always an orphan."""
        row = (job.id, job.model_dump_json(), job.claim_at, job.owner, job.served, job.expires, job.finished)
        with self._transaction() as database:
            database.execute("INSERT INTO jobs VALUES (?, ?, 1, 0, ?, ?, ?, ?, ?)", row)
        self._blobs.create(job.id)

    def load(self, job_id: str) -> Job:
        """Reads a job."""
        return _read(self._rows("SELECT document FROM jobs WHERE id = ?", job_id), job_id)

    def version(self, job_id: str) -> int | None:
        """The job's version."""
        rows = self._rows("SELECT version FROM jobs WHERE id = ?", job_id)
        return rows[0][0] if rows else None

    def update(self, job_id: str, change: Change) -> Job:
        """Reads, changes and writes in one transaction."""
        with self._transaction() as database:
            query = database.execute("SELECT document FROM jobs WHERE id = ?", (job_id,))
            before = _read(query.fetchall(), job_id)
            job = change(before)
            if job != before:
                database.execute(
                    "UPDATE jobs SET document = ?, version = version + 1, claim_at = ?, served = ?, expires = ?,"
                    " finished = ? WHERE id = ?",
                    (job.model_dump_json(), job.claim_at, job.served, job.expires, job.finished, job_id),
                )
        return job

    def remove(self, job_id: str, tombstone: Tombstone | None) -> bool:
        """Removes the record first: whoever still works for the job finds that out before its files are gone."""
        with self._transaction() as database:
            removed = database.execute("DELETE FROM jobs WHERE id = ?", (job_id,)).rowcount > 0
            if tombstone is not None:
                row = (job_id, tombstone.owner, tombstone.why, tombstone.until)
                database.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?, ?)", row)
        self._blobs.delete_job(job_id)
        return removed

    def tombstone(self, job_id: str) -> Tombstone | None:
        """What is left of a removed job."""
        rows = self._rows("SELECT owner, why, until FROM tombstones WHERE id = ?", job_id)
        return Tombstone(owner=rows[0][0], why=rows[0][1], until=rows[0][2]) if rows else None

    def claimable(self, now: float) -> list[Candidate]:
        """Jobs with a file to claim."""
        rows = self._rows(
            "SELECT id, owner, jobs.served, COALESCE(owners.served, 0) FROM jobs"
            " LEFT JOIN owners ON owners.name = jobs.owner WHERE claim_at <= ?",
            now,
        )
        return [Candidate(*row) for row in rows]

    def mark_served(self, owner: str, now: float) -> None:
        """Notes that it was this client's turn."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))

    def unfinished(self, owner: str) -> int:
        """How many jobs of this client are not finished."""
        count: int = self._rows("SELECT COUNT(*) FROM jobs WHERE owner = ? AND NOT finished", owner)[0][0]
        return count

    def reserve(self, job_id: str, count: int, limit: int) -> None:
        """Adds to the bytes that a job holds."""
        with self._transaction() as database:
            held: int = database.execute("SELECT COALESCE(SUM(held), 0) FROM jobs").fetchone()[0]
            if count > 0 and held + count > limit:
                raise jobs_full(held, count, limit)
            row = (count, job_id)
            if database.execute("UPDATE jobs SET held = MAX(0, held + ?) WHERE id = ?", row).rowcount == 0:
                raise JobMissingError(f"There is no job {job_id}.")

    def holdings(self) -> Holdings:
        """Counts inside the documents; of those with a file to claim some day, which an index knows."""
        ((waiting,),) = self._rows(
            # A record that is damaged is found by whoever reads it; until then the others are counted all the same.
            "SELECT COUNT(*) FROM jobs,"
            " json_each(CASE WHEN json_valid(document) THEN document ELSE '{}' END, '$.files') AS file"
            " WHERE claim_at IS NOT NULL AND json_extract(file.value, '$.status') = ?",
            FileStatus.QUEUED.value,
        )
        ((held,),) = self._rows("SELECT COALESCE(SUM(held), 0) FROM jobs")
        return Holdings(waiting, held)

    def expired(self, now: float) -> list[str]:
        """Ids of jobs whose time is up."""
        return [row[0] for row in self._rows("SELECT id FROM jobs WHERE expires <= ?", now)]

    def forget(self, now: float) -> None:
        """Drops old tombstones, and the turns of clients that have had none for as long as any job lives."""
        with self._transaction() as database:
            database.execute("DELETE FROM tombstones WHERE until <= ?", (now,))
            database.execute("DELETE FROM owners WHERE name NOT IN (SELECT owner FROM jobs)")

    def job_ids(self) -> list[str]:
        """Ids of all jobs."""
        return [row[0] for row in self._rows("SELECT id FROM jobs")]

    def close(self) -> None:
        """Closes the connections of all threads; none of them may be in use."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            self._local = threading.local()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _connect(self._path)
            with self._lock:
                self._connections.append(connection)
        return connection

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with _translated():
            return self._connection().execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated():
            database = self._connection()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise


def jobs_full(held: int, count: int, limit: int) -> JobsFullError:
    """The error of a reservation that does not fit; numbers are bytes."""
    return JobsFullError(
        f"All jobs together may hold {limit} bytes; {held} are taken and {count} more are needed. "
        "Fetch and delete finished jobs, or try again later.",
        {"Retry-After": "60"},
    )


def _read(rows: list[tuple[Any, ...]], job_id: str) -> Job:
    if not rows:
        raise JobMissingError(f"There is no job {job_id}.")
    return parse_job(job_id, rows[0][0])


def _connect(path: Path) -> sqlite3.Connection:
    # Closed by another thread than the one that uses it, never used by two.
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    # NORMAL: a power cut may undo the last commits, never damage the file. A lost commit means work done again.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _prepare(path: Path) -> None:
    with contextlib.closing(_connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"its schema is version {version}, this service reads {SCHEMA_VERSION}")
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _move_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    aside = f"jobs.unreadable-{time.time_ns()}.db"
    logger.warning("%s cannot be read (%s). It is kept as %s; the jobs in it are lost.", path, error, aside)
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.rename(path.with_name(aside + suffix))


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Holds off other processes; the lock of one that dies is free at once."""
    with contextlib.closing(_lock_database(path)):
        yield


def _lock_database(path: Path) -> sqlite3.Connection:
    try:
        return _locked(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        path.unlink(missing_ok=True)  # nothing is kept in it
        return _locked(path)


def _locked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = f"The store of jobs does not answer ({error}). Try again later."
        raise JobsUnavailableError(text, {"Retry-After": "5"}) from error
