"""What is done with jobs when nobody asks: forget what is over, put in order what a dead process has left."""

from __future__ import annotations

from math import inf

from serving.jobs.errors import BlobLostError, JobDamagedError, JobMissingError
from serving.jobs.queue import EXPIRED, LOST, TOMBSTONE_S, JobQueue
from serving.jobs.store import Tombstone


def sweep(queue: JobQueue) -> None:
    """Removes jobs whose time is up, and forgets those that have been gone for long."""
    now = queue.clock()
    for job_id in queue.store.expired(now):
        try:
            job = queue.store.load(job_id)
        except JobMissingError:
            queue.store.remove(job_id, None)
        except JobDamagedError as error:
            queue.lose(job_id, None, error)
        else:
            # Read again: a submission that has just arrived is due later.
            if job.expires <= now:
                queue.bury(job, EXPIRED)
    queue.store.forget(now)


def recover(queue: JobQueue) -> None:
    """Puts in order, at a start, what earlier processes have left: files without job, jobs without files."""
    # Files first: a job is always there before its files, so what has none now never will.
    with_files = queue.store.blobs.job_ids()
    known = set(queue.store.job_ids())
    for job_id in with_files:
        if job_id not in known:
            gone = queue.store.tombstone(job_id) or Tombstone(owner=None, why=LOST, until=inf)
            until = min(gone.until, queue.clock() + TOMBSTONE_S)
            queue.store.remove(job_id, gone.model_copy(update={"until": until}))
    for job_id in known - set(with_files):
        if not queue.store.blobs.exists(job_id):
            _check(queue, job_id)


def _check(queue: JobQueue, job_id: str) -> None:
    try:
        job = queue.store.load(job_id)
    except JobMissingError:
        return
    except JobDamagedError as error:
        queue.lose(job_id, None, error)
        return
    if not job.receiving:
        queue.lose(job_id, job.owner, BlobLostError("its files are gone"))
