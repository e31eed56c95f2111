"""The /metrics of the real server with one worker."""

from __future__ import annotations

import shutil
import subprocess
from itertools import islice

import httpx
import pytest

from tests.servers import Server
from tests.serving.metrics.reading import scrape
from tests.serving.metrics.strangers import METHODS, send, strangers

REQUESTS = 1000


def lint(text: str) -> str:
    """What promtool finds wrong with it."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool (Debian package prometheus)")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    return done.stderr + done.stdout


def test_a_thousand_strangers_add_no_series(server: Server) -> None:
    # Once around, so that every kind was there with every method; then the same with other words.
    once = list(islice(strangers(1), 2 * (7 * len(METHODS) + 4)))
    send(server, once)
    scrape(server)  # the scrape counts itself
    before = scrape(server)
    statuses = send(server, list(islice(strangers(2), REQUESTS)))
    after = scrape(server)
    assert after.values.keys() == before.values.keys()
    counted = after.sum("restore_http_requests_total") - before.sum("restore_http_requests_total")
    assert counted == REQUESTS + 1  # all of them, and the scrape before
    assert not {status for status in statuses if status >= 500}
    assert len(set(statuses)) > 3
    # The comparison sees a series more: a route asked with a method that it was not asked with before.
    with server.client() as client:
        client.request("DELETE", "/docs.json")
    assert len(scrape(server).values) == len(after.values) + 1


def test_every_answer_is_counted_once(server: Server, client: httpx.Client, png: bytes) -> None:
    before = scrape(server)
    answers = [client.post("/v1/derain", files={"image": png}) for _ in range(3)]
    client.get("/nowhere")
    assert [answer.status_code for answer in answers] == [200] * 3
    after = scrape(server)

    def more(name: str, **labels: str) -> float:
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert more("restore_http_requests_total", route="/v1/derain", method="POST", code="200") == 3
    assert more("restore_requests_total", task="derain", model="derain-same", code="200") == 3
    assert more("restore_request_duration_seconds_count", task="derain") == 3
    assert more("restore_http_requests_total", route="other", code="404") == 1
    assert more("restore_http_requests_total", route="/metrics", code="200") == 1
    assert not after.sum("restore_http_requests_total", route="/readyz")  # BentoML's own, not ours


def test_the_text_is_as_prometheus_wants_it(client: httpx.Client, png: bytes) -> None:
    client.post("/v1/derain", files={"image": png})
    text = client.get("/metrics").text
    assert lint(text) == ""
    assert "restore_bad" in lint(text + "# TYPE restore_bad counter\nrestore_bad 1\n")


def test_head_asks_for_the_same_without_the_text(client: httpx.Client) -> None:
    head, got = client.head("/metrics"), client.get("/metrics")
    assert head.status_code == got.status_code == 200
    assert head.headers["content-type"] == got.headers["content-type"]
    assert got.headers["content-type"].startswith("text/plain; version=")
    assert int(head.headers["content-length"]) > 1000
    assert head.content == b""
    assert client.post("/metrics").status_code == 405


def test_one_worker_has_process_figures_and_no_gpu_is_no_zero(server: Server) -> None:
    seen = scrape(server)
    for name in ("resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds", "start_time_seconds"):
        (value,) = seen.by(f"process_{name}", "worker").values()
        assert value > 0
        assert list(seen.by(f"process_{name}", "worker")) == ["1"]
    if not shutil.which("nvidia-smi"):
        assert not [name for name, _ in seen.values if name.startswith("restore_gpu_")]
        assert "no NVIDIA driver answers" in server.log.read_text(errors="replace")
