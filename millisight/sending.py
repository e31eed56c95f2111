"""`restore --server`: pictures through a service. One is answered at once, many are a job that is followed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer
from tqdm import tqdm

from millisight.client import (
    Client,
    InvalidCallError,
    Job,
    JobGoneError,
    JobStatus,
    MillisightClientError,
    RefusedError,
    Restored,
)
from millisight.picture_files import Errand, Plan, Wish, report
from runtime import MillisightError

__all__ = ["JOB_BYTES", "JOB_FILES", "ServiceError", "send"]

JOB_FILES = 100
JOB_BYTES = 256 * 2**20
"""Most of one job: below what a service takes by default, and little enough that results come before all are sent."""

# What the service says of pictures and options that it would never take: wrong use, as it is without a service.
_WRONG_USE = frozenset({400, 413, 415, 422})


class ServiceError(MillisightError):
    """The service refused, or did not answer."""


def send(wish: Wish, files: Plan, server: str, api_key: str | None, deadline_ms: int | None) -> bool:
    """Restores pictures by a service and writes them; whether some failed.

    Args:
        wish: What is wanted of every picture.
        files: Which ones.
        server: Address.
        api_key: For it.
        deadline_ms: For one picture.

    Raises:
        ServiceError: Nothing could be restored.
        typer.BadParameter: The one picture, or an option, can never be.
    """
    start = time.perf_counter()
    with _told(), Client(server, api_key=api_key) as client:
        if files.folder is None:
            _send_one(client, wish, files.errands[0], server, deadline_ms, start)
            return False
        with tqdm(total=len(files.errands), desc=f"{wish.task} at {server}", unit="picture") as bar:
            done = _Many(client, wish, bar).send(files.errands)
        return report(
            files, done.failures, f"{_by(client, done.models)} at {server}; {time.perf_counter() - start:.1f} s"
        )


def _send_one(client: Client, wish: Wish, errand: Errand, server: str, deadline_ms: int | None, start: float) -> None:
    restored = _restore(client, wish, errand, deadline_ms)
    seconds = time.perf_counter() - start
    on = f" on {restored.target}" if restored.target else ""
    typer.echo(f"{errand.output}  ({restored.model}{on} at {server}; {seconds:.2f} s{_stages(restored)})")


def _restore(client: Client, wish: Wish, errand: Errand, deadline_ms: int | None = None) -> Restored:
    restored = client.restore(errand.source, deadline_ms=deadline_ms, **asdict(wish))
    errand.output.parent.mkdir(parents=True, exist_ok=True)
    restored.save(errand.output)
    return restored


class _Many:
    """Many pictures, as jobs as large as the service takes; one by one where it takes no jobs."""

    def __init__(self, client: Client, wish: Wish, bar: tqdm[Any]) -> None:
        self._client, self._wish, self._bar = client, wish, bar
        self.failures: list[str] = []
        self.models: set[str] = set()

    def send(self, errands: Sequence[Errand]) -> _Many:
        waiting, most = list(errands), JOB_FILES
        while waiting:
            batch = _batch(waiting, most)
            try:
                job = self._client.submit([(errand.name, errand.source) for errand in batch], **asdict(self._wish))
            except RefusedError as error:
                if error.status == 413 and len(batch) > 1:
                    most = len(batch) // 2
                    continue
                # The service's word for a path that it does not have.
                if error.code != "not_found":
                    raise
                self._bar.write(f"The service takes no jobs: sending {len(waiting)} pictures one by one.")
                self._one_by_one(waiting)
                break
            self._follow(job, batch)
            waiting = waiting[len(batch) :]
        return self

    def _one_by_one(self, errands: Sequence[Errand]) -> None:
        for errand in errands:
            try:
                self.models.add(_restore(self._client, self._wish, errand).model)
            except RefusedError as error:
                # What the service says of this picture; that it refuses all of them, the first one shows.
                if error.status not in _WRONG_USE:
                    raise
                self.failures.append(f"{errand.source}: {error}")
            self._bar.update()

    def _follow(self, job: Job, batch: Sequence[Errand]) -> None:
        before = self._bar.n
        ended = False
        try:
            for status in job.events():
                self._bar.n = before + status.done + status.failed
                self._bar.refresh()
            last = job.status()
            ended = True
            self._fetch(job, last, batch)
        finally:
            # Fetched, given up or interrupted: the service need not keep it.
            self._delete(job, ended)
        self._bar.n = before + len(batch)
        self._bar.refresh()

    def _fetch(self, job: Job, status: JobStatus, batch: Sequence[Errand]) -> None:
        files = {file.index: file for file in status.files}
        for index, errand in enumerate(batch):
            file = files.get(index)
            if file is not None and file.status == "done":
                errand.output.parent.mkdir(parents=True, exist_ok=True)
                job.file(index).save(errand.output)
                self.models.add(file.model or "")
            else:
                why = file.error.message if file is not None and file.error is not None else f"job {status.status}"
                self.failures.append(f"{errand.source}: {why}")

    def _delete(self, job: Job, ended: bool) -> None:
        try:
            job.cancel()
        except JobGoneError:
            pass
        except MillisightClientError as error:
            state = "is kept" if ended else "may go on"
            self._bar.write(f"Job {job.id} {state} at the service until it expires: {error}")


def _batch(errands: Sequence[Errand], most: int) -> list[Errand]:
    """As many from the beginning as fit into one job, at least one."""
    batch, size = [errands[0]], errands[0].source.stat().st_size
    for errand in errands[1:most]:
        size += errand.source.stat().st_size
        if size > JOB_BYTES:
            break
        batch.append(errand)
    return batch


def _by(client: Client, models: set[str]) -> str:
    """Models with the targets that they run on."""
    targets = {model.name: model.target for model in client.models()} if models else {}
    return ", ".join(f"{name} on {targets[name]}" if name in targets else name for name in sorted(models)) or "none"


def _stages(restored: Restored) -> str:
    timing = restored.timing
    stages = {"queue": timing.queue, "decode": timing.decode, "inference": timing.inference, "encode": timing.encode}
    known = ", ".join(f"{name} {value:.0f}" for name, value in stages.items() if value is not None)
    return f", ms in {known}" if known else ""


@contextmanager
def _told() -> Iterator[None]:
    """The client's errors as those of the command line."""
    try:
        yield
    except InvalidCallError as error:
        raise typer.BadParameter(str(error)) from error
    except RefusedError as error:
        if error.status in _WRONG_USE:
            raise typer.BadParameter(str(error)) from error
        raise ServiceError(str(error)) from error
    except MillisightClientError as error:
        raise ServiceError(str(error)) from error
