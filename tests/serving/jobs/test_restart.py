"""Jobs outlive the processes that work on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JOBS = "/v1/jobs?task=derain"


def form(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", ("a.png", data)) for data in contents]


def test_a_killed_worker_loses_nothing(
    start_worker: Callable[..., Any], jobs_setting: str, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with start_worker(tmp_path, jobs_setting) as first:
        contents = (b"one", b"two", b"tiles=2000 three", b"tiles=30 four", b"five")
        job_id = first.client.post(JOBS, files=form(*contents)).json()["id"]
        wait_until(lambda: first.client.get(f"/v1/jobs/{job_id}").json()["done"] >= 3)
        first.process.kill()
        first.process.wait()
    journal = tmp_path / "journal"
    before = journal.read_bytes()
    # What was half done when the process died would take too long for this test.
    text = before.replace(b"begin tiles=2000 three\n", b"")
    assert text != before
    with start_worker(tmp_path, jobs_setting) as second:
        wait_until(lambda: journal.read_bytes().count(b"begin tiles=2000 three") == 2)
        view = second.client.get(f"/v1/jobs/{job_id}").json()
        assert [file["status"] for file in view["files"] if file["index"] in (0, 1)] == ["done", "done"]
        assert second.client.get(f"/v1/jobs/{job_id}/files/0").content == b"restored:one"
    ends = Counter(line for line in journal.read_bytes().splitlines() if line.startswith(b"end"))
    assert set(ends.values()) == {1}, "a finished file is never restored again"


@pytest.mark.slow
def test_a_file_that_kills_its_worker_is_given_up_and_the_others_are_done(
    start_worker: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with start_worker(tmp_path) as worker:
        job_id = worker.client.post(JOBS, files=form(b"die", b"tiles=30 good")).json()["id"]
        worker.process.wait(30)
    for _ in range(2):
        with start_worker(tmp_path) as worker:
            worker.process.wait(30)
    with start_worker(tmp_path) as worker:
        wait_until(lambda: worker.client.get(f"/v1/jobs/{job_id}").json()["status"] == "done")
        view = worker.client.get(f"/v1/jobs/{job_id}").json()
    codes = [file["error"] and file["error"]["code"] for file in view["files"]]
    assert codes == ["worker_died", None]


@pytest.mark.slow
def test_a_stopped_worker_gives_its_files_back_at_once(
    start_worker: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with start_worker(tmp_path) as first:
        job_id = first.client.post(JOBS, files=form(b"tiles=10000")).json()["id"]
        wait_until(lambda: first.client.get(f"/v1/jobs/{job_id}").json()["status"] == "running")
        first.process.terminate()
        assert first.process.wait(30) is not None
    with start_worker(tmp_path) as second:
        wait_until(lambda: second.client.get(f"/v1/jobs/{job_id}").json()["status"] == "running")
        assert (tmp_path / "journal").read_bytes().count(b"begin") == 2
        second.client.delete(f"/v1/jobs/{job_id}")


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["files", "database"])
def test_a_damaged_state_is_a_410(
    start_worker: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None], loss: str
) -> None:
    with start_worker(tmp_path) as first:
        job_id = first.client.post(JOBS, files=form(b"one")).json()["id"]
        wait_until(lambda: first.client.get(f"/v1/jobs/{job_id}").json()["status"] == "done")
    if loss == "files":
        (tmp_path / "jobs" / "files").rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "jobs" / "jobs.db").write_bytes(b"no database" * 1000)
    with start_worker(tmp_path) as second:
        response = second.client.get(f"/v1/jobs/{job_id}")
        assert (response.status_code, response.json()["error"]["code"]) == (410, "job_gone")
        assert second.client.post(JOBS, files=form(b"two")).status_code == 202
