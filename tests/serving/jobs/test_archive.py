from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator

import pytest

from serving.jobs.archive import zipped
from serving.jobs.errors import BlobLostError
from serving.jobs.job import FileStatus, Job, JobFile

PIECE = b"0123456789" * 10_000


def a_file(name: str, pieces: int) -> JobFile:
    return JobFile(
        name=name, input_bytes=1, status=FileStatus.DONE, media_type="image/png", result=name,
        result_bytes=pieces * len(PIECE),
    )  # fmt: skip


def a_job(*files: JobFile) -> Job:
    return Job(id="x", owner="anna", task="derain", options=(), created=1e9, expires=2e9, files=files)


async def pieces_of(job: Job, index: int) -> AsyncIterator[bytes]:
    for _ in range((job.files[index].result_bytes or 0) // len(PIECE)):
        yield PIECE


def written(job: Job) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [piece async for piece in zipped(job, lambda index: pieces_of(job, index))]

    return asyncio.run(collect())


def test_no_piece_of_the_archive_is_larger_than_a_piece_of_a_file() -> None:
    pieces = written(a_job(a_file("a.png", 30), a_file("b.png", 1)))
    assert len(pieces) == 32
    assert max(map(len, pieces)) < len(PIECE) + 1000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.read("a.png") == PIECE * 30


def test_a_damaged_archive_would_be_seen() -> None:
    data = bytearray(b"".join(written(a_job(a_file("a.png", 2)))))
    data[len(data) // 2] ^= 1
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() == "a.png"


def test_a_job_without_any_result_is_a_list_of_errors() -> None:
    job = a_job(JobFile(name="日本.png", input_bytes=1).failed("corrupt", "no"))
    with zipfile.ZipFile(io.BytesIO(b"".join(written(job)))) as archive:
        assert archive.namelist() == ["errors.json"]
        errors = json.loads(archive.read("errors.json"))["errors"]
    assert errors == [{"index": 0, "name": "日本.png", "error": {"code": "corrupt", "message": "no"}}]


def test_a_file_that_goes_away_ends_the_archive() -> None:
    async def lost(_: int) -> AsyncIterator[bytes]:
        yield PIECE
        raise BlobLostError("planted")

    async def collect() -> None:
        async for _ in zipped(a_job(a_file("a.png", 2)), lost):
            pass

    with pytest.raises(BlobLostError, match="planted"):
        asyncio.run(collect())
