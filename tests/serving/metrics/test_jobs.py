"""What is told of jobs: nothing where they are off, nothing of what is not known, and every end of a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from serving.app import create_app
from serving.jobs import Holdings
from serving.metrics import Metrics
from tests.serving.metrics.places import opened, seen, write_promised_bundle
from tests.serving.metrics.reading import Scrape

GAUGES = ("restore_job_files_waiting", "restore_job_bytes", "restore_job_bytes_capacity")


def shown(metrics: Metrics) -> Scrape:
    return Scrape(metrics.render()[0].decode())


def test_without_jobs_there_is_nothing_of_them() -> None:
    assert "restore_job_" not in "".join(name for name, _ in shown(Metrics()).values)


def test_a_store_that_does_not_answer_is_not_an_empty_one() -> None:
    metrics = Metrics()
    metrics.begin_jobs(("derain",), 100)
    metrics.observe_jobs(Holdings(3, 50))
    assert [shown(metrics).sum(name) for name in GAUGES] == [3, 50, 100]
    metrics.observe_jobs(None)
    left = {name for name, _ in shown(metrics).values if name in GAUGES}
    assert left == {"restore_job_bytes_capacity"}


def test_a_service_tells_of_its_jobs(tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.workplace.JOBS_SAMPLE_S", 0.01)
    write_promised_bundle(tmp_path / "b" / "a", "quick", 1e6)
    place = opened(tmp_path / "state", tmp_path / "b", jobs="sqlite")

    async def until(name: str, value: float, **labels: str) -> None:
        async with asyncio.timeout(30):
            while seen(place).sum(name, **labels) != value:
                await asyncio.sleep(0.02)

    async def main() -> None:
        await place.start()
        transport = httpx.ASGITransport(create_app(place))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            files = [("image", ("a.png", png)), ("image", ("b.png", b"no picture"))]
            sent = await client.post("/v1/jobs?task=denoise", files=files)
            assert sent.status_code == 202, sent.text
            await until("restore_job_files_total", 1, task="denoise", outcome="done")
            await until("restore_job_files_total", 1, task="denoise", outcome="failed")
            held = len((await client.get(f"/v1/jobs/{sent.json()['id']}/files/0")).content)
            await until("restore_job_bytes", held)
            await until("restore_job_files_waiting", 0)
        await place.stop()

    asyncio.run(main())
    # Files of jobs are no requests: nobody waits for them by a deadline.
    now = seen(place)
    assert now.sum("restore_stage_duration_seconds_count", stage="inference", model="quick") == 1
    for name in ("restore_served_duration_seconds_count", "restore_deadlines_total", "restore_requests_total"):
        assert now.sum(name) == 0, name
