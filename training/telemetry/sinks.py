"""Where the metrics of a run go: a file for node_exporter's textfile collector, or a Pushgateway.

A folder that is not there at the start is an error. What fails later must not end a run of hours: it is said once on
the error stream, tried again, and counted.
"""

import os
import sys
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway
from tqdm import tqdm

from training.telemetry.errors import TelemetryError

JOB = "millisight-runs"
"""Label `job` of everything that is pushed."""
PUSH_TIMEOUT = 2.0
"""Seconds that a push may take; the run waits for it."""
MOST_SHARE = 0.05
"""Share of a run's time that sending may take, however slow the other side is."""


class Sink(Protocol):
    """A place for metrics.

    Attributes:
        name: In messages.
        remedy: What to do if it fails, for people.
    """

    name: str
    remedy: str

    def send(self, registry: CollectorRegistry) -> None:
        """Replace what this run sent before.

        Raises:
            OSError: It did not work; nothing is replaced.
            HTTPException: Likewise.
        """
        ...


class Textfile:
    """A file `millisight-<run>.prom`, replaced in one step, in a folder that node_exporter reads.

    Args:
        folder: Must exist.
        run: The run's id.

    Raises:
        TelemetryError: There is no such folder, or it may not be written to.
    """

    def __init__(self, folder: Path, run: str) -> None:
        if not folder.is_dir():
            raise TelemetryError(
                f"no folder {folder} to write metrics to; make it, or name the one that node_exporter reads (its "
                "--collector.textfile.directory)"
            )
        if not os.access(folder, os.W_OK):
            raise TelemetryError(
                f"metrics cannot be written to {folder}: this user may not write there; let it, or name another folder"
            )
        self.path = folder / f"millisight-{run}.prom"
        self.name = f"writing metrics to {self.path}"
        self.remedy = f"see that {folder} is there, writable and not full"

    def send(self, registry: CollectorRegistry) -> None:
        """See `Sink`. The half-written file has another ending, which the collector does not read."""
        partial = self.path.with_name(self.path.name + ".writing")
        partial.write_bytes(generate_latest(registry))
        partial.replace(self.path)


class Pushgateway:
    """The group (job, run) of a Pushgateway, replaced as a whole, so that a resumed run takes up its own.

    Args:
        url: Of the gateway.
        run: The run's id.

    Raises:
        TelemetryError: See `gateway_url`.
    """

    def __init__(self, url: str, run: str) -> None:
        self._url, self._run = gateway_url(url), run
        self.name = f"pushing metrics to {self._url}"
        self.remedy = "start the Pushgateway there, or stop the run and resume it with the right address"

    def send(self, registry: CollectorRegistry) -> None:
        """See `Sink`."""
        push_to_gateway(self._url, JOB, registry, grouping_key={"run": self._run}, timeout=PUSH_TIMEOUT)


def gateway_url(text: str) -> str:
    """The address of a Pushgateway, known to be one.

    Raises:
        TelemetryError: Not of the form `http://host:9091`, with or without a path.
    """
    form = "write the address of a Pushgateway as http://HOST:9091, or with https and a path"
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")
        named = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
    except ValueError as error:
        raise TelemetryError(f"{text!r} is no address ({error}); {form}") from error
    if parts.username is not None or parts.password is not None:
        # Not repeated: a password does not belong on a terminal.
        raise TelemetryError(f"the address of the Pushgateway holds a user name, which cannot be used; {form}")
    if not named or parts.query or parts.fragment or any(not "!" <= c <= "~" for c in text):
        raise TelemetryError(f"{text!r} is no address; {form}")
    return text.rstrip("/")


class Outlet:
    """A sink that is given something now and then, and whose failures end nothing.

    Args:
        sink: Where to.
        every: Least seconds between two sendings. A sending that took long is followed by a pause of twenty times that.
        clock: Seconds that never go back.
    """

    def __init__(self, sink: Sink, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink, self._every, self._clock = sink, every, clock
        self._next = -float("inf")
        self._failing = False
        self.sent = 0
        self.failures = 0

    @property
    def due(self) -> bool:
        """Is it time to send again?"""
        return self._clock() >= self._next

    def send(self, registry: CollectorRegistry, *, force: bool = False) -> None:
        """Send if it is due.

        Args:
            registry: What.
            force: Send although it is not due, unless the place fails just now.
        """
        if not self.due and (self._failing or not force):
            return
        self._try(registry)

    def close(self, registry: CollectorRegistry) -> None:
        """Send for the last time, in any case, and say how many failed."""
        self._try(registry)
        if self.failures:
            last = "did not get through" if self._failing else "got through"
            times = f"{self.failures} of {self.failures + self.sent} times"
            _say(f"{self._sink.name} failed {times}; the final values {last}")

    def _try(self, registry: CollectorRegistry) -> None:
        began = self._clock()
        try:
            self._sink.send(registry)
        except (OSError, HTTPException) as error:
            self.failures += 1
            self._failing = True
            if self.failures == 1:
                name, remedy = self._sink.name, self._sink.remedy
                _say(f"{name} failed ({_reason(error)}); the run goes on and tries again: {remedy}")
        else:
            self.sent += 1
            self._failing = False
        now = self._clock()
        self._next = now + max(self._every, (now - began) / MOST_SHARE)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _say(text: str) -> None:
    # Above the progress bars, not through them.
    tqdm.write(f"millisight: warning: {text}", file=sys.stderr)
