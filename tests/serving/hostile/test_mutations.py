"""Thousands of damaged files: no 5xx, no crash, no leak, and every refusal in the one form.

2,500 of them always, 37,500 others where slow tests run. As many as you like, and others again:

    MUTATIONS=100000 MUTATION_SEED=7 pytest tests/serving/hostile/test_mutations.py
"""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers import Server, running_server
from tests.serving.contract.processes import resident_bytes, worker_processes
from tests.serving.contract.wire import END, FORM, part
from tests.serving.hostile.mutations import MUTATORS, mutation, sources

SEED = int(os.environ.get("MUTATION_SEED", "1"))
ALWAYS = 2_500
MORE = int(os.environ.get("MUTATIONS", "37500"))
CONNECTIONS = 4
SHOWN = 10
GROWTH = 50 * 2**20
SIGNATURES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8", "image/webp": b"RIFF", "image/tiff": b"II*\0"}
REFUSALS = {400, 413, 415, 422}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, bundle_roots: tuple[Path, Path]) -> Iterator[Server]:
    """A server of its own, so that its memory is not that of other tests."""
    limits = {"MILLISIGHT_MAX_PIXELS": "1000000", "MILLISIGHT_MAX_OUTPUT_PIXELS": "4000000"}
    with running_server(tmp_path_factory.mktemp("target"), bundle_roots, **limits) as server:
        yield server


def wrong_with(status: int, content_type: str, body: bytes) -> str | None:
    """What is wrong with an answer to a damaged file, or None."""
    if status == 200:
        signature = SIGNATURES.get(content_type)
        return None if signature and body.startswith(signature) else f"a 200 of {content_type!r} that is none"
    if status not in REFUSALS:
        return f"status {status}"
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError):
        return f"not the form of our errors: {body[:200]!r}"
    if content_type != "application/json" or set(error) != {"code", "message", "request_id"} or not all(error.values()):
        return f"not the form of our errors: {content_type!r} {error}"
    return None


@dataclass
class Campaign:
    """Sends mutations over a few kept connections and notes what comes back."""

    server: Server
    statuses: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, indexes: range) -> None:
        """Sends these mutations; stops once enough has gone wrong."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(self._send_some, [indexes[at::CONNECTIONS] for at in range(CONNECTIONS)]))

    def _send_some(self, indexes: range) -> None:
        connection = http.client.HTTPConnection(self.server.url.removeprefix("http://"), timeout=60)
        for index in indexes:
            if len(self.complaints) >= SHOWN:
                break
            status, complaint = self._ask(connection, index)
            with self._lock:
                self.statuses[status] += 1
                if complaint is not None:
                    self._complain(index, complaint)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, index: int) -> tuple[int, str | None]:
        data = mutation(SEED, index).data
        as_form = index % 4 == 0
        headers = {
            "Content-Type": FORM if as_form else "application/octet-stream",
            "Accept": ("image/png", "image/webp", "image/jpeg")[index % 3],
        }
        route = "/v1/super-resolution?scale=2" if index % 5 == 0 else "/v1/derain"
        try:
            connection.request("POST", route, part("image", data) + END if as_form else data, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return 0, f"no answer: {error!r}"
        return answer.status, wrong_with(answer.status, answer.headers.get("Content-Type", ""), body)

    def _complain(self, index: int, complaint: str) -> None:
        case = mutation(SEED, index)
        self.complaints.append(
            f"{complaint}\n    {case.source}: {', '.join(case.how)}; {len(case.data)} bytes\n"
            f"    again: python -m tests.serving.hostile.mutations {SEED} {index} > damaged"
        )


def check_campaign(server: Server, indexes: range) -> None:
    """The first tenth fills caches and pools; from then on memory must not grow."""
    pids = {worker.pid for worker in worker_processes(server)}
    campaign = Campaign(server)
    count = len(indexes)
    campaign.send(indexes[: count // 10])
    before = resident_bytes(server)
    campaign.send(indexes[count // 10 :])
    assert not campaign.complaints, "\n".join(campaign.complaints)
    assert campaign.statuses.total() == count
    assert {worker.pid for worker in worker_processes(server)} == pids
    assert resident_bytes(server) - before < GROWTH
    # Neither a wall that all of it bounces off, nor damage that nobody sees.
    assert min(campaign.statuses[200], campaign.statuses[415], campaign.statuses[422]) > count // 50, campaign.statuses


def test_mutations_harm_nobody(target: Server) -> None:
    check_campaign(target, range(ALWAYS))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_more_mutations_harm_nobody(target: Server) -> None:
    check_campaign(target, range(ALWAYS, ALWAYS + MORE))


def test_a_mutation_follows_from_its_number() -> None:
    assert mutation(SEED, 17) == mutation(SEED, 17)
    assert mutation(SEED, 17) != mutation(SEED, 18) != mutation(SEED + 1, 18)


def test_every_file_and_every_damage_takes_part() -> None:
    cases = [mutation(SEED, index) for index in range(2000)]
    assert {case.source for case in cases} == set(sources())
    assert {how for case in cases for how in case.how} == {*MUTATORS, "checksums made right"}
    changed = sum(case.data != sources()[case.source] for case in cases)
    assert changed > 0.95 * len(cases)


GOOD = json.dumps({"error": {"code": "corrupt", "message": "m", "request_id": "1"}}).encode()


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (500, "application/json", GOOD),
        (422, "text/plain", GOOD),
        (422, "application/json", b"Internal Server Error"),
        (422, "application/json", b'[{"error": "x"}]'),
        (422, "application/json", b'{"error": {"code": "", "message": "m", "request_id": "1"}}'),
        (200, "application/json", GOOD),
        (200, "image/png", b"GIF89a"),
    ],
)
def test_a_bad_answer_would_be_seen(status: int, content_type: str, body: bytes) -> None:
    assert wrong_with(status, content_type, body) is not None
    assert wrong_with(422, "application/json", GOOD) is None
    assert wrong_with(200, "image/png", b"\x89PNG...") is None
