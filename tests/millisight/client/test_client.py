"""Both clients against a real server that speaks the contract: what is sent, what comes back, what is tried again."""

from __future__ import annotations

import asyncio
import io
import zipfile
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path

import pytest
from starlette.responses import Response

from millisight.client import (
    AsyncClient,
    BrokenAnswerError,
    Client,
    InvalidCallError,
    JobGoneError,
    OverloadedError,
    RefusedError,
    RetryPolicy,
    TimedOutError,
    Timing,
    UnreachableError,
)
from tests.millisight.client.conftest import QUICK, Talker
from tests.millisight.client.contract import PNG, Contract, error, rude_server

FULL = {"Retry_After": "1"}


def test_a_picture_with_every_option(talk: Talker, contract: Contract, tmp_path: Path) -> None:
    options = {"scale": 4, "model": "best", "format": "jpeg", "quality": 90, "metadata": "keep"}
    restored = talk.do_as(
        {"api_key": "secret"}, contract.url, "restore", b"rain", "super-resolution", deadline_ms=5000, **options
    )
    (seen,) = contract.seen
    assert seen.path == "/v1/super-resolution"
    assert seen.query == {name: str(value) for name, value in options.items()}
    assert seen.headers["authorization"] == "Bearer secret"
    assert 4000 < int(seen.headers["x-deadline-ms"]) <= 5000
    assert seen.headers["content-type"] == "application/octet-stream"
    assert seen.body == b"rain"
    assert restored.data == PNG + b"rain"
    assert (restored.model, restored.target, restored.request_id) == ("one", "cpu-x-fp32", "r1")
    assert restored.timing == Timing(read=0.5, queue=1, decode=2, inference=30.5, encode=4, predicted=40)
    with pytest.raises(InvalidCallError, match=r"\.jpg or \.jpeg"):
        restored.save(tmp_path / "clear.png")
    assert restored.save(tmp_path / "clear.JPG").read_bytes() == restored.data
    assert [file.name for file in tmp_path.iterdir()] == ["clear.JPG"]


def test_options_left_open_are_not_sent(talk: Talker, contract: Contract) -> None:
    talk.do(contract.url + "/", "restore", b"rain", "derain")
    (seen,) = contract.seen
    assert (seen.path, seen.query) == ("/v1/derain", {})
    assert "x-deadline-ms" not in seen.headers
    assert "authorization" not in seen.headers


def test_a_busy_service_is_asked_again_after_exactly_what_it_said(talk: Talker, contract: Contract) -> None:
    contract.script.extend(error(429, "queue_full", "Full.", **FULL) for _ in range(2))
    file = io.BytesIO(b"skipped" + b"rain" * 50_000)
    file.seek(7)
    assert talk.do(contract.url, "restore", file, "derain").data == PNG + b"rain" * 50_000
    assert [seen.body for seen in contract.seen] == [b"rain" * 50_000] * 3
    waits = [later.at - earlier.at for earlier, later in pairwise(contract.seen)]
    assert all(wait >= 1 for wait in waits)


def test_a_date_to_come_back_at_is_kept(talk: Talker, contract: Contract) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    contract.script.append(error(503, "not_ready", "Starting.", Retry_After=later))
    talk.do(contract.url, "models")
    first, second = contract.seen
    # Dates have whole seconds, those of the answer itself are as old as a second: never less than was meant.
    assert second.at - first.at >= 0.99


def test_patience_ends_with_a_named_error(talk: Talker, contract: Contract) -> None:
    contract.script.extend(error(429, "queue_full", "Full.") for _ in range(9))
    with pytest.raises(OverloadedError) as raised:
        talk.do(contract.url, "restore", b"rain", "derain")
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (429, "queue_full", "r9")
    assert raised.value.attempts == len(contract.seen) == QUICK.attempts
    contract.seen.clear()
    contract.script.clear()
    contract.script.append(error(503, "deadline_unattainable", "Too slow.", Retry_After="60"))
    with pytest.raises(OverloadedError) as raised:
        talk.do(contract.url, "restore", b"rain", "derain", deadline_ms=2000)
    assert raised.value.retry_after == 60
    assert len(contract.seen) == 1


@pytest.mark.parametrize("status", [408, 502, 504])
def test_what_may_have_cost_the_service_time_is_not_tried_again(talk: Talker, contract: Contract, status: int) -> None:
    contract.script.append(error(status, "some_code", "A sentence."))
    with pytest.raises(RefusedError, match=r"A sentence\.") as raised:
        talk.do(contract.url, "restore", b"rain", "derain")
    assert (raised.value.status, raised.value.code, raised.value.message) == (status, "some_code", "A sentence.")
    assert len(contract.seen) == 1


HTML = "<html><h1>502 Bad Gateway</h1></html>"


def test_a_proxy_that_answers_in_the_services_place_is_called_one(talk: Talker, contract: Contract) -> None:
    contract.script.append(Response(HTML, 502, media_type="text/html"))
    with pytest.raises(RefusedError, match="proxy") as raised:
        talk.do(contract.url, "restore", b"rain", "derain")
    assert raised.value.code == "http_502"
    contract.script.append(Response(HTML, 200, media_type="text/html"))
    with pytest.raises(BrokenAnswerError, match="text/html"):
        talk.do(contract.url, "restore", b"rain", "derain")
    contract.script.append(Response(b"", 307, headers={"Location": "https://other/"}))
    with pytest.raises(RefusedError, match="https://other/"):
        talk.do_as({"api_key": "secret"}, contract.url, "models")
    assert len(contract.seen) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Response(PNG, media_type="image/png"),  # no X-Model
        Response(b"", media_type="image/png", headers={"X-Model": "one"}),
        Response(PNG, media_type="application/json", headers={"X-Model": "one"}),
    ],
)
def test_a_picture_that_is_none_is_refused(talk: Talker, contract: Contract, answer: Response) -> None:
    contract.script.append(answer)
    with pytest.raises(BrokenAnswerError, match="X-Model"):
        talk.do(contract.url, "restore", b"rain", "derain")


def test_the_models_whatever_a_later_service_adds(talk: Talker, contract: Contract) -> None:
    (model,) = talk.do(contract.url, "models")
    assert (model.name, model.task, model.scale, model.target) == ("one", "derain", 1, "cpu-x-fp32")
    contract.script.append(Response('{"models": [{"name": "one"}]}', media_type="application/json"))
    with pytest.raises(BrokenAnswerError, match=r"0\.task"):
        talk.do(contract.url, "models")
    contract.script.append(Response("[]", media_type="application/json"))
    with pytest.raises(BrokenAnswerError, match="JSON object"):
        talk.do(contract.url, "models")


def test_ready_and_not_ready(talk: Talker, contract: Contract) -> None:
    assert talk.do(contract.url, "ready") is True
    contract.script.append(Response("\n", 503))
    assert talk.do(contract.url, "ready") is False
    contract.script.append(Response("\n", 404))
    with pytest.raises(RefusedError):
        talk.do(contract.url, "ready")


def test_the_administrators_calls(talk: Talker, contract: Contract) -> None:
    report = talk.do(contract.url, "reload_models")
    assert (report.complete, report.workers[0].state) == (True, "done")
    assert report.workers[0].model_extra == {"did": ["reload"]}
    talk.do(contract.url, "load_model", "a b")
    talk.do(contract.url, "unload_model", "one")
    assert [seen.path for seen in contract.seen[1:]] == ["/v1/models/a b/load", "/v1/models/one/unload"]


def test_nothing_listening_is_said_with_the_address(talk: Talker) -> None:
    with rude_server() as nobody:
        pass
    with pytest.raises(UnreachableError, match=nobody.url):
        talk.do(nobody.url, "restore", b"rain", "derain")


def test_a_connection_cut_before_the_answer_is_tried_again_with_the_whole_body(talk: Talker) -> None:
    body = b"rain" * 50_000
    good = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nX-Model: one\r\nContent-Length: 3\r\n\r\nabc"
    with rude_server(b"", b"", good) as server:
        assert talk.do(server.url, "restore", body, "derain").data == b"abc"
    assert [heard.partition(b"\r\n\r\n")[2] for heard in server.heard] == [body] * 3


def test_a_submission_whose_connection_is_cut_is_not_sent_twice(talk: Talker) -> None:
    with rude_server(b"", b"") as server:
        with pytest.raises(UnreachableError, match="POST /v1/jobs"):
            talk.do(server.url, "submit", [b"rain"], "derain")
        assert len(server.heard) == 1


def test_an_answer_cut_midway_and_an_answer_that_is_no_http(talk: Talker) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nX-Model: one\r\nContent-Length: 300\r\n\r\nabc"
    for answer, kind in ((half, BrokenAnswerError), (b"SSH-2.0-rude\r\n\r\n", UnreachableError)):
        with rude_server(answer, answer) as server:
            with pytest.raises(kind):
                talk.do(server.url, "restore", b"rain", "derain")
            assert len(server.heard) == 1


def test_a_service_that_falls_silent(talk: Talker) -> None:
    with rude_server(None, None) as server:
        with pytest.raises(TimedOutError, match="timeout"):
            talk.do_as({"timeout": 0.3}, server.url, "restore", b"rain", "derain")
        with pytest.raises(TimedOutError, match=r"deadline of 0\.1 s"):
            talk.do(server.url, "restore", b"rain", "derain", deadline_ms=100)
        assert len(server.heard) == 2


def test_an_error_with_a_body_without_end_is_still_an_error(talk: Talker) -> None:
    head = b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n"
    with rude_server(head + b"x" * 300_000) as server, pytest.raises(RefusedError, match="http_400"):
        talk.do(server.url, "restore", b"rain", "derain")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"base_url": "localhost:3000"}, "http://"),
        ({"base_url": "ftp://x"}, "http://"),
        ({"base_url": "http://user:password@x"}, "api_key"),
        ({"base_url": "http://x", "api_key": ""}, "api_key"),
        ({"base_url": "http://x", "api_key": "se\ncret"}, "api_key"),
        ({"base_url": "http://x", "timeout": 0}, "timeout"),
    ],
)
def test_a_client_that_cannot_work_is_refused_at_once(settings: dict[str, object], says: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidCallError, match=says) as raised:
            kind(**settings)  # type: ignore[arg-type]
        assert "cret" not in str(raised.value)


def test_a_call_that_cannot_be_sent_is_refused_at_once(talk: Talker, contract: Contract, tmp_path: Path) -> None:
    for deadline in (0, 3_600_001):
        with pytest.raises(InvalidCallError, match="deadline_ms"):
            talk.do(contract.url, "restore", b"rain", "derain", deadline_ms=deadline)
    with pytest.raises(InvalidCallError, match=r"none\.png"):
        talk.do(contract.url, "restore", tmp_path / "none.png", "derain")
    with pytest.raises(InvalidCallError, match="at least one"):
        talk.do(contract.url, "submit", [], "derain")
    assert contract.seen == []


def test_no_retries_where_none_are_wanted(talk: Talker, contract: Contract) -> None:
    contract.script.append(error(429, "queue_full", "Full.", **FULL))
    with pytest.raises(OverloadedError, match="Tried once"):
        talk.do_as({"retry": RetryPolicy(attempts=1)}, contract.url, "models")


FILES = [("a.png", b"one"), ("sub/b.png", b"bad"), ("c.png", b"three")]


def submit(talk: Talker, contract: Contract, **options: object) -> str:
    id_: str = talk.do(contract.url, "submit", FILES, "denoise", **options).id
    return id_


def test_a_job_from_submission_to_its_files(talk: Talker, contract: Contract, tmp_path: Path) -> None:
    id_ = submit(talk, contract, format="png", scale=None)
    assert contract.seen[0].query == {"task": "denoise", "format": "png"}
    assert contract.works[id_].pictures == FILES
    states = talk.job(contract.url, id_, "events")
    assert [(state.done, state.failed, state.ended) for state in states] == [
        (0, 0, False), (1, 0, False), (1, 1, False), (2, 1, True),
    ]  # fmt: skip
    last = talk.job(contract.url, id_, "status")
    assert last.files[1].error.code == "corrupt"
    assert last.created == datetime(2026, 1, 1, tzinfo=UTC)
    pictures = talk.job(contract.url, id_, "files")
    assert [(picture.index, picture.data) for picture in pictures] == [(0, PNG + b"one"), (2, PNG + b"three")]
    assert pictures[0].save(tmp_path / "a.png").read_bytes() == PNG + b"one"
    path = talk.job(contract.url, id_, "result_to", tmp_path / "all.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("sub/b.png") == b"bad"
    talk.job(contract.url, id_, "cancel")
    for method in ("status", "events", "cancel", "wait"):
        with pytest.raises(JobGoneError):
            talk.job(contract.url, id_, method)
    with pytest.raises(JobGoneError):
        talk.job(contract.url, "no-such-job", "status")


def test_progress_goes_on_over_streams_that_break(talk: Talker, contract: Contract) -> None:
    id_ = submit(talk, contract)
    contract.streams.extend([1, 0, 2])
    states = talk.job(contract.url, id_, "events")
    assert [state.done + state.failed for state in states] == [0, 1, 2, 3]
    assert sum(seen.path.endswith("/events") for seen in contract.seen) == 4


def test_waiting_ends_with_the_job_or_with_the_limit(talk: Talker, contract: Contract) -> None:
    id_ = submit(talk, contract)
    contract.streams.extend([0] * 100)
    # On a busy machine the time may be up before the first event: then it is the request that says so.
    with pytest.raises(TimedOutError, match=r"within (0\.05 s|the client's timeout)"):
        talk.job(contract.url, id_, "wait", 0.05)
    contract.streams.clear()
    assert talk.job(contract.url, id_, "wait").status == "done"
    assert talk.job(contract.url, id_, "wait", 30).done == 2


def test_a_result_before_the_end_and_results_that_are_damaged_leave_no_file(
    talk: Talker, contract: Contract, tmp_path: Path
) -> None:
    id_ = submit(talk, contract)
    with pytest.raises(RefusedError, match="not_finished"):
        talk.job(contract.url, id_, "result_to", tmp_path / "all.zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.png", b"picture" * 100)
    whole = buffer.getvalue()
    flipped = bytearray(whole)
    flipped[100] ^= 1
    for content in (whole[:-30], whole[:40], b"", b"<html>", bytes(flipped)):
        contract.script.append(Response(content, media_type="application/zip"))
        with pytest.raises(BrokenAnswerError, match="again"):
            talk.job(contract.url, id_, "result_to", tmp_path / "all.zip")
    assert list(tmp_path.iterdir()) == []
    contract.script.append(Response(whole, media_type="application/zip"))
    assert talk.job(contract.url, id_, "result_to", tmp_path / "all.zip").read_bytes() == whole


def test_many_calls_of_one_asynchronous_client_at_a_time(contract: Contract) -> None:
    async def restore_all() -> list[bytes]:
        async with AsyncClient(contract.url, retry=QUICK, trust_env=False) as client:
            pictures = [client.restore(b"%d" % index, "derain") for index in range(30)]
            return [restored.data for restored in await asyncio.gather(*pictures)]

    assert asyncio.run(restore_all()) == [PNG + b"%d" % index for index in range(30)]
