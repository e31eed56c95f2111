"""Server-sent events over a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

JOBS = "/v1/jobs?task=derain"


def submit(client: httpx.Client, *contents: bytes) -> str:
    files = [("image", ("a.png", data)) for data in contents]
    job_id: str = client.post(JOBS, files=files).json()["id"]
    return job_id


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parses the stream as the standard says; comments and fields that we do not use are passed over."""
    name, data = "message", ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data += line.removeprefix("data: ")
        elif not line and data:
            yield name, json.loads(data)
            name, data = "message", ""


def test_progress_comes_tile_by_tile_and_the_stream_ends(client: httpx.Client) -> None:
    job_id = submit(client, b"tiles=60", b"fail")
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = list(events(response))
    assert [name for name, _ in seen[-2:]] == ["progress", "end"]
    assert {name for name, _ in seen[:-1]} == {"progress"}
    progress = [view["progress"] for _, view in seen]
    assert progress == sorted(progress)
    assert any(0.5 < value < 1 for value in progress)
    assert seen[-1][1] == client.get(f"/v1/jobs/{job_id}").json()
    assert (seen[-1][1]["done"], seen[-1][1]["failed"]) == (1, 1)


def test_a_finished_job_is_shown_once(client: httpx.Client, wait_until: Callable[..., None]) -> None:
    job_id = submit(client, b"x")
    wait_until(lambda: client.get(f"/v1/jobs/{job_id}").json()["status"] == "done")
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        assert [name for name, _ in events(response)] == ["progress", "end"]


def test_a_deleted_job_ends_its_streams(client: httpx.Client) -> None:
    job_id = submit(client, b"tiles=1000")
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        stream = events(response)
        assert next(stream)[1]["status"] in ("queued", "running")
        client.delete(f"/v1/jobs/{job_id}")
        rest = list(stream)
    assert rest[-1][0] == "end"
    assert rest[-1][1]["status"] == "cancelled"


@pytest.mark.slow
def test_progress_is_seen_from_another_worker_and_deleting_there_stops_the_work(
    start_worker: Callable[..., Any], jobs_setting: str, tmp_path: Any, wait_until: Callable[..., None]
) -> None:
    with (
        start_worker(tmp_path, jobs_setting) as here,
        start_worker(tmp_path, jobs_setting) as there,
    ):
        job_id = submit(here.client, b"tiles=2000 on its way")
        with there.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
            stream = events(response)
            assert any(view["progress"] > 0 for _, view in stream)
            there.client.delete(f"/v1/jobs/{job_id}")
            assert list(stream)[-1][0] == "end"
        wait_until(lambda: b"cancelled tiles=2000 on its way" in (tmp_path / "journal").read_bytes())


@pytest.mark.slow
def test_an_open_stream_does_not_hold_up_the_end_of_the_server(start_worker: Callable[..., Any], tmp_path: Any) -> None:
    with start_worker(tmp_path) as worker:
        job_id = submit(worker.client, b"tiles=10000")
        with worker.client.stream("GET", f"/v1/jobs/{job_id}/events") as response:
            stream = events(response)
            next(stream)
            worker.process.terminate()
            assert "end" not in [name for name, _ in stream]
        worker.process.wait(30)
    assert b"cancelled tiles=10000" in (tmp_path / "journal").read_bytes()
