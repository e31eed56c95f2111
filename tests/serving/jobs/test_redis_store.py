from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.jobs import open_store
from serving.jobs.errors import JobDamagedError, JobsUnavailableError
from serving.jobs.job import Job
from serving.jobs.redis_store import RedisStore
from serving.settings import Settings

JOB = Job(id="x", owner="anna", task="derain", options=(), created=0, expires=1e12)


@pytest.fixture
def client(redis_port: int) -> object:
    import redis

    client = redis.Redis(port=redis_port)
    client.flushall()
    return client


def test_without_a_server_there_is_no_start(tmp_path: Path) -> None:
    pytest.importorskip("redis")
    with pytest.raises(SettingsError, match=r"No Redis server answers at 127\.0\.0\.1:1/0") as raised:
        open_store(Settings(state=tmp_path, jobs="redis://user:secret@127.0.0.1:1/0"))
    assert "secret" not in str(raised.value)


def test_without_the_package_the_error_names_it() -> None:
    script = """
import sys
sys.modules["redis"] = None
from serving.jobs.redis_store import RedisStore
RedisStore("redis://127.0.0.1:1/0", keep_s=1)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "Install millisight[redis]" in result.stderr


def test_the_default_store_does_without_the_package() -> None:
    script = 'import sys; sys.modules["redis"] = None; import serving.jobs'
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


def test_every_key_has_an_end(client: object, redis_port: int) -> None:
    store = RedisStore(f"redis://127.0.0.1:{redis_port}/0", keep_s=60)
    store.insert(JOB)
    writer = store.blobs.writer("x", "done")
    writer.write(b"abc")
    writer.commit()
    store.blobs.writer("x", "half").write(b"abc")
    keys = set(client.scan_iter())  # type: ignore[attr-defined]
    lasting = {key for key in keys if client.ttl(key) < 0}  # type: ignore[attr-defined]
    assert len(keys) > len(lasting)
    # One key each for all jobs together; a sweep empties them.
    assert all(key.rsplit(b":", 1)[1] in (b"open", b"unfinished", b"expires", b"held", b"owners") for key in lasting)


def test_a_record_that_redis_dropped_is_damage(client: object, redis_port: int) -> None:
    store = RedisStore(f"redis://127.0.0.1:{redis_port}/0", keep_s=60)
    store.insert(JOB)
    client.delete("{millisight-jobs}:job:x")  # type: ignore[attr-defined]
    with pytest.raises(JobDamagedError, match="evict"):
        store.load("x")


def test_a_server_that_goes_away_is_a_503(client: object, redis_port: int) -> None:
    store = RedisStore(f"redis://127.0.0.1:{redis_port}/0", keep_s=60)
    client.set("{millisight-jobs}:job:x", "of another type")  # type: ignore[attr-defined]
    with pytest.raises(JobsUnavailableError) as raised:
        store.load("x")
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "5")
