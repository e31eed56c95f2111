"""The store for several replicas: records and files in one Redis server.

A job is a hash that is changed by compare-and-set (WATCH, MULTI, EXEC), so a claim has exactly one winner. Everything
carries a time to live, as a backstop for when no replica is left to sweep. The clocks of the replicas must agree to
within some seconds: leases and expiry are compared with them.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from serving.errors import SettingsError
from serving.jobs.errors import JobDamagedError, JobMissingError, JobsUnavailableError
from serving.jobs.job import FileStatus, Job
from serving.jobs.redis_blobs import PREFIX, RedisBlobs, as_text
from serving.jobs.sqlite_store import jobs_full
from serving.jobs.store import Candidate, Change, Holdings, Tombstone, parse_job

TIMEOUT_S = 5.0
# Keys live this much longer than what they hold, so that a sweep comes before Redis forgets.
GRACE_S = 3600.0

_OPEN = PREFIX + "open"  # sorted set: id -> when a file may be claimed
_UNFINISHED = PREFIX + "unfinished"  # hash: id -> JSON [owner, served]
_EXPIRES = PREFIX + "expires"  # sorted set: id -> when it expires; has every job
_WAITING = PREFIX + "waiting"  # hash: id -> files that nobody works on yet; of unfinished jobs
_HELD = PREFIX + "held"  # hash: id -> bytes held
_OWNERS = PREFIX + "owners"  # hash: owner -> when it was last served

# One step, so that two submissions cannot both take the last room. KEYS: held, expires; ARGV: id, count, limit.
_RESERVE = """
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return {-1, 0} end
local held, count = 0, tonumber(ARGV[2])
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do held = held + tonumber(value) end
if count > 0 and held + count > tonumber(ARGV[3]) then return {0, held} end
local own = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', math.max(0, own + count)))
return {1, held}
"""


class RedisStore:
    """Jobs and their files in Redis; see `store.Store`.

    Args:
        url: `redis://[user:password@]host:port/db`, or `rediss://` for TLS.
        keep_s: Seconds a job lives.
        clock: Seconds since 1970.

    Raises:
        SettingsError: The package redis is not installed, or no server answers.
    """

    def __init__(self, url: str, *, keep_s: float, clock: Callable[[], float] = time.time) -> None:
        try:
            import redis
        except ImportError as error:
            raise SettingsError(
                "Jobs in Redis need the package redis. Install millisight[redis], or set MILLISIGHT_JOBS=sqlite."
            ) from error
        self._error = redis.RedisError
        shown = url.rsplit("@", 1)[-1]  # never the password
        try:
            # Any: redis-py types every answer as what any of its settings could make of it.
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, health_check_interval=30
            )
            self._client.ping()
        except (redis.RedisError, ValueError) as error:
            raise SettingsError(
                f"No Redis server answers at {shown} ({error}). Start it, or correct MILLISIGHT_JOBS."
            ) from error
        self._clock = clock
        self._reserve = self._client.register_script(_RESERVE)
        self._blobs = RedisBlobs(self._client, self._translated, math.ceil(keep_s + GRACE_S))

    @property
    def blobs(self) -> RedisBlobs:
        """The files of the jobs."""
        return self._blobs

    def insert(self, job: Job) -> None:
        """Adds a job, then the room for its blobs: room without a job is always an orphan."""
        with self._translated(), self._client.pipeline() as pipe:
            self._write(pipe, job)
            pipe.execute()
        self._blobs.create(job.id)

    def load(self, job_id: str) -> Job:
        """Reads a job."""
        with self._translated():
            document = self._client.hget(_job_key(job_id), "document")
            if document is None and self._client.zscore(_EXPIRES, job_id) is not None:
                raise JobDamagedError(f"Redis has dropped the record of job {job_id}; does it evict keys?")
        return _parsed(document, job_id)

    def version(self, job_id: str) -> int | None:
        """The job's version."""
        with self._translated():
            version = self._client.hget(_job_key(job_id), "version")
        return None if version is None else int(version)

    def update(self, job_id: str, change: Change) -> Job:
        """Reads, changes and writes, again from the start if another one came in between."""
        key = _job_key(job_id)

        def attempt(pipe: Any) -> Job:
            before = _parsed(pipe.hget(key, "document"), job_id)
            job = change(before)
            pipe.multi()
            if job != before:
                self._write(pipe, job)
            return job

        with self._translated():
            job: Job = self._client.transaction(attempt, key, value_from_callable=True)
            return job

    def remove(self, job_id: str, tombstone: Tombstone | None) -> bool:
        """Removes the record first: whoever still works for the job finds that out before its files are gone."""
        with self._translated():
            with self._client.pipeline() as pipe:
                pipe.delete(_job_key(job_id))
                pipe.zrem(_OPEN, job_id)
                pipe.zrem(_EXPIRES, job_id)
                pipe.hdel(_UNFINISHED, job_id)
                pipe.hdel(_WAITING, job_id)
                pipe.hdel(_HELD, job_id)
                if tombstone is not None:
                    seconds = max(1, math.ceil(tombstone.until - self._clock()))
                    pipe.set(_tombstone_key(job_id), tombstone.model_dump_json(), ex=seconds)
                removed = bool(pipe.execute()[0])
            self._blobs.delete_job(job_id)
        return removed

    def tombstone(self, job_id: str) -> Tombstone | None:
        """What is left of a removed job; Redis drops it in time."""
        with self._translated():
            document = self._client.get(_tombstone_key(job_id))
        return None if document is None else Tombstone.model_validate_json(document)

    def claimable(self, now: float) -> list[Candidate]:
        """Jobs with a file to claim."""
        with self._translated():
            ids = [as_text(name) for name in self._client.zrangebyscore(_OPEN, "-inf", now)]
            if not ids:
                return []
            jobs = [
                (name, json.loads(entry)) for name, entry in zip(ids, self._unfinished_of(ids), strict=True) if entry
            ]
            turns = self._client.hmget(_OWNERS, [owner for _, (owner, _) in jobs]) if jobs else []
        return [
            Candidate(name, owner, served, float(turn or 0))
            for (name, (owner, served)), turn in zip(jobs, turns, strict=True)
        ]

    def _unfinished_of(self, ids: list[str]) -> list[bytes | None]:
        entries: list[bytes | None] = self._client.hmget(_UNFINISHED, ids)
        return entries

    def mark_served(self, owner: str, now: float) -> None:
        """Notes that it was this client's turn."""
        with self._translated():
            self._client.hset(_OWNERS, owner, now)

    def unfinished(self, owner: str) -> int:
        """How many jobs of this client are not finished."""
        with self._translated():
            return sum(json.loads(entry)[0] == owner for entry in self._client.hvals(_UNFINISHED))

    def reserve(self, job_id: str, count: int, limit: int) -> None:
        """Adds to the bytes that a job holds."""
        with self._translated():
            done, held = self._reserve(keys=[_HELD, _EXPIRES], args=[job_id, count, limit])
        if done < 0:
            raise JobMissingError(f"There is no job {job_id}.")
        if done == 0:
            raise jobs_full(int(held), count, limit)

    def holdings(self) -> Holdings:
        """Adds up what is written down beside the records."""
        with self._translated(), self._client.pipeline() as pipe:
            pipe.hvals(_WAITING)
            pipe.hvals(_HELD)
            waiting, held = pipe.execute()
        return Holdings(sum(map(int, waiting)), sum(map(int, held)))

    def expired(self, now: float) -> list[str]:
        """Ids of jobs whose time is up."""
        with self._translated():
            return [as_text(name) for name in self._client.zrangebyscore(_EXPIRES, "-inf", now)]

    def forget(self, now: float) -> None:
        """Drops the turns of clients that had none for a day; Redis drops tombstones itself."""
        with self._translated():
            turns = self._client.hgetall(_OWNERS)
            old = [owner for owner, served in turns.items() if float(served) < now - 86_400]
            if old:
                self._client.hdel(_OWNERS, *old)

    def job_ids(self) -> list[str]:
        """Ids of all jobs, also of those whose record was lost."""
        with self._translated():
            return [as_text(name) for name in self._client.zrange(_EXPIRES, 0, -1)]

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _write(self, pipe: Any, job: Job) -> None:
        key = _job_key(job.id)
        pipe.hset(key, "document", job.model_dump_json())
        pipe.hincrby(key, "version", 1)
        pipe.expire(key, max(60, math.ceil(job.expires - self._clock() + GRACE_S)))
        pipe.zadd(_EXPIRES, {job.id: job.expires})
        waiting = sum(file.status is FileStatus.QUEUED for file in job.files)
        if waiting and not job.receiving:
            pipe.hset(_WAITING, job.id, waiting)
        else:
            pipe.hdel(_WAITING, job.id)
        if job.finished:
            pipe.hdel(_UNFINISHED, job.id)
        else:
            pipe.hset(_UNFINISHED, job.id, json.dumps([job.owner, job.served]))
        if job.claim_at is None:
            pipe.zrem(_OPEN, job.id)
        else:
            pipe.zadd(_OPEN, {job.id: job.claim_at})

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            text = f"The store of jobs does not answer ({error}). Try again later."
            raise JobsUnavailableError(text, {"Retry-After": "5"}) from error


def _parsed(document: bytes | None, job_id: str) -> Job:
    if document is None:
        raise JobMissingError(f"There is no job {job_id}.")
    return parse_job(job_id, document)


def _job_key(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}"


def _tombstone_key(job_id: str) -> str:
    return f"{PREFIX}gone:{job_id}"
