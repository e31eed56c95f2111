"""What the workers of one server agree on: orders, names that are unloaded, and who is there to follow.

One SQLite file. An order has a number; every worker carries out all orders above the last one it knows, in their turn,
and writes down how it went. Readers do not block (write-ahead log), and nothing here waits for another worker.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serving.errors import SettingsError
from serving.processes import is_alive

__all__ = ["Action", "Order", "Outcome", "SharedState", "WorkerState"]

Action = Literal["reload", "load", "unload"]
WorkerState = Literal["done", "failed", "waiting"]

FILE_NAME = "models.sqlite"
# A worker that was not heard of for so long is stuck or gone; beats come every two seconds, and opening an engine may
# keep other threads of its process waiting.
SILENT_S = 20.0
# Orders older than the last few have been carried out by all, or by nobody who still lives.
_KEPT_ORDERS = 100
_BUSY_S = 5.0
_AGAIN_S = 0.01

_SCHEMA = """
CREATE TABLE IF NOT EXISTS unloaded (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS workers
    (id TEXT PRIMARY KEY, pid INTEGER NOT NULL, beat REAL NOT NULL, follows INTEGER NOT NULL, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes
    (number INTEGER NOT NULL, worker TEXT NOT NULL, failed INTEGER NOT NULL, told TEXT NOT NULL,
     PRIMARY KEY (number, worker));
"""


@dataclass(frozen=True)
class Order:
    """What somebody asked all workers to do.

    Attributes:
        number: In the order of asking, from 1.
        action: What to do.
        name: Of which bundle; empty for all.
    """

    number: int
    action: Action
    name: str


@dataclass(frozen=True)
class Outcome:
    """What one worker made of an order.

    Attributes:
        worker: Its id.
        pid: Its process.
        state: `waiting` if it has not got to it yet.
        told: What it wrote down.
    """

    worker: str
    pid: int
    state: WorkerState
    told: Mapping[str, Any]


class SharedState:
    """The file, as one worker sees it. Methods may be called from any thread; each is one short transaction.

    Args:
        folder: Shared by the workers of one server; made if it is not there.
        clock: The time of day, in seconds; only tests change it.

    Raises:
        SettingsError: The folder or the file in it cannot be used.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.worker = uuid.uuid4().hex
        self._follows, self._digest = False, ""
        self._clock = clock
        self._lock = threading.Lock()
        path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # One connection kept open: closing the last one empties the log, which costs a write to the disk.
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            _write_ahead(self._connection)
            self._connection.execute("PRAGMA synchronous=NORMAL")
            with self._transaction() as connection:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(
                f"The workers' shared file {path} cannot be used: {error}. Set MILLISIGHT_STATE to a folder that can "
                "be written to, or delete the file if it is damaged: then no bundle counts as unloaded."
            ) from error

    def register(self) -> tuple[int, frozenset[str]]:
        """Makes this worker known; to be called before it looks at the disk.

        Returns:
            The number of the last order, which this worker need not carry out, and the names that are unloaded.
        """
        with self._transaction() as connection:
            self._forget_dead(connection)
            self._sign_in(connection)
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()
            return int(last), _unloaded(connection)

    def announce(self, digest: str) -> bool:
        """Says that this worker carries out orders from now on, and what it serves.

        Args:
            digest: Of all that it serves.

        Returns:
            Whether another worker that lives serves something else.
        """
        self._follows, self._digest = True, digest
        with self._transaction() as connection:
            self._sign_in(connection)
            return any(other not in ("", digest) for _, _, other in self._followers(connection))

    def beat(self) -> None:
        """Says that this worker lives."""
        with self._transaction() as connection:
            self._sign_in(connection)

    def leave(self) -> None:
        """Says that this worker ends, and closes the file."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM workers WHERE id = ?", (self.worker,))
        self.close()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()

    def unloaded(self) -> frozenset[str]:
        """Names that nobody is to load."""
        with self._lock:
            return _unloaded(self._connection)

    def order(self, action: Action, name: str = "") -> int:
        """Asks all workers to do something; returns the order's number."""
        with self._transaction() as connection:
            if action == "unload":
                connection.execute("INSERT OR IGNORE INTO unloaded VALUES (?)", (name,))
            if action == "load":
                connection.execute("DELETE FROM unloaded WHERE name = ?", (name,))
            number = connection.execute("INSERT INTO orders (action, name) VALUES (?, ?)", (action, name)).lastrowid
            assert number is not None
            for table in ("orders", "outcomes"):
                connection.execute(f"DELETE FROM {table} WHERE number <= ?", (number - _KEPT_ORDERS,))
            return number

    def orders_after(self, number: int) -> list[Order]:
        """Orders with higher numbers, in their order."""
        with self._lock:
            rows = self._connection.execute("SELECT * FROM orders WHERE number > ? ORDER BY number", (number,))
            return [Order(*row) for row in rows.fetchall()]

    def carried_out(self, order: Order, told: Mapping[str, Any], *, failed: bool, digest: str) -> None:
        """Writes down how an order went here.

        Args:
            order: Which.
            told: What changed, as JSON values.
            failed: Whether it could not be carried out.
            digest: Of all that this worker serves now.
        """
        self._digest = digest
        with self._transaction() as connection:
            row = (order.number, self.worker, int(failed), json.dumps(told))
            connection.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)", row)
            self._sign_in(connection)

    def outcomes(self, number: int) -> list[Outcome]:
        """How an order went, for every worker that lives and follows, or has carried it out."""
        with self._lock:
            query = "SELECT worker, failed, told FROM outcomes WHERE number = ?"
            told = {worker: (failed, text) for worker, failed, text in self._connection.execute(query, (number,))}
            followers = self._followers(self._connection)
        results = []
        for worker, pid, _ in followers:
            failed, text = told.get(worker, (False, "{}"))
            state: WorkerState = "waiting" if worker not in told else "failed" if failed else "done"
            results.append(Outcome(worker, pid, state, json.loads(text)))
        return results

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _sign_in(self, connection: sqlite3.Connection) -> None:
        """Writes this worker's row anew: one that was silent for long may have been forgotten."""
        row = (self.worker, os.getpid(), self._clock(), int(self._follows), self._digest)
        connection.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?)", row)

    def _followers(self, connection: sqlite3.Connection) -> list[tuple[str, int, str]]:
        """Id, process and digest of every worker that lives and follows."""
        rows = connection.execute("SELECT id, pid, beat, digest FROM workers WHERE follows ORDER BY pid").fetchall()
        return [(worker, pid, digest) for worker, pid, beat, digest in rows if self._lives(pid, beat)]

    def _forget_dead(self, connection: sqlite3.Connection) -> None:
        for worker, pid, beat in connection.execute("SELECT id, pid, beat FROM workers").fetchall():
            if not self._lives(pid, beat):
                connection.execute("DELETE FROM workers WHERE id = ?", (worker,))

    def _lives(self, pid: int, beat: float) -> bool:
        return abs(self._clock() - beat) < SILENT_S and is_alive(pid)


def _unloaded(connection: sqlite3.Connection) -> frozenset[str]:
    return frozenset(name for (name,) in connection.execute("SELECT name FROM unloaded"))


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switches to the write-ahead log.

    Workers that start together all do this, and SQLite answers "locked" at once here, whatever its timeout says.
    """
    limit = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > limit:
                raise
        time.sleep(_AGAIN_S)
