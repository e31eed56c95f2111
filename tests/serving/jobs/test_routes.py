"""The contract of the routes over a real server, with a restoration that obeys the file's bytes (see `worker.py`)."""

from __future__ import annotations

import io
import json
import socket
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest

JOBS = "/v1/jobs?task=derain"


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", (f"{index}.jpg", data)) for index, data in enumerate(contents)]


def submit(client: httpx.Client, *contents: bytes, owner: str = "anna") -> str:
    response = client.post(JOBS, files=files(*contents), headers={"X-Client": owner})
    assert response.status_code == 202, response.text
    job_id: str = response.json()["id"]
    return job_id


def get(client: httpx.Client, path: str, owner: str = "anna") -> httpx.Response:
    return client.get(f"/v1/jobs/{path}", headers={"X-Client": owner})


def refused(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@pytest.fixture
def finished(client: httpx.Client, wait_until: Callable[..., None]) -> Callable[[str], dict[str, Any]]:
    def finished(job_id: str) -> dict[str, Any]:
        wait_until(lambda: get(client, job_id).json()["status"] == "done")
        view: dict[str, Any] = get(client, job_id).json()
        return view

    return finished


def test_files_go_in_and_come_out(client: httpx.Client, finished: Callable[[str], dict[str, Any]]) -> None:
    response = client.post(JOBS, files=files(b"one", b"two"), headers={"X-Client": "anna"})
    view = response.json()
    assert response.headers["Location"] == f"/v1/jobs/{view['id']}"
    assert (view["status"], view["total"], view["done"], view["failed"], view["progress"]) == ("queued", 2, 0, 0, 0)
    assert view["files"][1] == {
        "index": 1, "name": "1.jpg", "status": "queued", "model": None, "bytes": None, "error": None,
    }  # fmt: skip
    done = finished(view["id"])
    assert (done["done"], done["failed"], done["progress"]) == (2, 0, 1)
    assert set(done) == {
        "id", "task", "status", "total", "done", "failed", "progress", "created", "expires", "files"
    }  # fmt: skip
    one = get(client, f"{view['id']}/files/0")
    assert (one.content, one.headers["content-type"]) == (b"restored:one", "image/png")
    assert one.headers["content-disposition"] == "attachment; filename*=utf-8''0.png"
    assert one.headers["x-model"] == "derain-model"


def test_a_zip_has_the_good_files_and_says_what_became_of_the_others(
    client: httpx.Client, finished: Callable[[str], dict[str, Any]]
) -> None:
    job_id = submit(client, b"good", b"fail", b"defect", b"also good", b"late")
    view = finished(job_id)
    assert [file["status"] for file in view["files"]] == ["done", "failed", "failed", "done", "done"]
    assert view["files"][1]["error"] == {"code": "corrupt", "message": "The picture is cut short."}
    assert view["files"][2]["error"]["code"] == "internal_error"
    assert "secret" not in json.dumps(view)
    response = get(client, f"{job_id}/result")
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["0.png", "3.png", "4.png", "errors.json"]
        assert archive.read("3.png") == b"restored:also good"
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        errors = json.loads(archive.read("errors.json"))["errors"]
    assert [(entry["index"], entry["error"]["code"]) for entry in errors] == [(1, "corrupt"), (2, "internal_error")]
    assert refused(get(client, f"{job_id}/files/1")) == (409, "file_failed")


def test_64_files_with_odd_names(client: httpx.Client, finished: Callable[[str], dict[str, Any]]) -> None:
    odd = ["../../etc/passwd", "..\\..\\boot.ini", "same.png", "same.png", "SAME.PNG", "日本.png", "a\0b.png", "",
           "CON.png", "x" * 300 + ".png", "errors.json", "\u202egnp.exe"]  # fmt: skip
    names = [odd[index % len(odd)] for index in range(64)]
    # By hand: httpx would quote what an attacker does not.
    parts = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="image"; filename="'
        + name.encode()
        + b'"\r\nContent-Type: image/png\r\n\r\n'
        + str(index).encode()
        + b"\r\n"
        for index, name in enumerate(names)
    )
    headers = {"Content-Type": "multipart/form-data; boundary=B", "X-Client": "anna"}
    response = client.post(JOBS, content=parts + b"--B--\r\n", headers=headers)
    assert response.status_code == 202, response.text
    view = finished(response.json()["id"])
    assert view["done"] == 64
    with zipfile.ZipFile(io.BytesIO(get(client, f"{view['id']}/result").content)) as archive:
        inside = archive.namelist()
        assert archive.testzip() is None
        assert [archive.read(name) for name in inside] == [b"restored:%d" % index for index in range(64)]
    assert len({name.casefold() for name in inside}) == 64
    assert all("/" not in name and "\\" not in name and "\0" not in name and ".." not in name for name in inside)
    assert "日本.png" in inside


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "missing_task"),
        ("?task=fly", 404, "task_not_found"),
        ("?task=derain&task=derain", 400, "unknown_option"),
        ("?task=derain&colour=red", 400, "unknown_option"),
        ("?task=super-resolution&scale=7", 422, "bad_value"),
    ],
)
def test_wrong_options_are_refused_at_once(client: httpx.Client, query: str, status: int, code: str) -> None:
    assert refused(client.post(f"/v1/jobs{query}", files=files(b"x"))) == (status, code)


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ([("image", ("a.png", b""))], 400, "empty"),
        ([("picture", ("a.png", b"x"))], 400, "missing_image"),
        ([*files(b"x"), ("more", ("a.png", b"x"))], 400, "unexpected_part"),
        (files(b"x" * 4097), 413, "file_too_large"),
        (files(*[b"x"] * 65), 413, "too_many_files"),
        (files(*[b"x" * 4000] * 60), 413, "body_too_large"),
    ],
)
def test_wrong_forms_are_refused_and_leave_nothing(
    client: httpx.Client, worker: Any, form: Any, status: int, code: str
) -> None:
    folder = worker.log.parent / "jobs" / "files"
    folder.mkdir(parents=True, exist_ok=True)  # the first job makes it
    before = sorted(folder.iterdir())
    assert refused(client.post(JOBS, files=form)) == (status, code)
    assert sorted(folder.iterdir()) == before
    # All room is there: it would be refused otherwise.
    assert before is not None


def test_a_client_that_stops_sending_or_leaves_leaves_nothing(
    client: httpx.Client, worker: Any, wait_until: Callable[..., None]
) -> None:
    folder = worker.log.parent / "jobs" / "files"
    folder.mkdir(parents=True, exist_ok=True)  # the first job makes it
    before = sorted(folder.iterdir())
    head = b"POST /v1/jobs?task=derain HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    part = b'--B\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nabc'
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=30) as stalled, socket.create_connection(address) as leaving:
        for connection in (stalled, leaving):
            connection.sendall(head + part)
        wait_until(lambda: len(list(folder.iterdir())) == len(before) + 2)
        leaving.close()
        assert b"408" in stalled.recv(100)
    wait_until(lambda: sorted(folder.iterdir()) == before)


def test_only_its_client_sees_a_job(client: httpx.Client) -> None:
    job_id = submit(client, b"x", owner="anna")
    for path in (job_id, f"{job_id}/events", f"{job_id}/result", f"{job_id}/files/0"):
        assert refused(get(client, path, owner="berta")) == (404, "job_not_found")
    assert refused(client.delete(f"/v1/jobs/{job_id}")) == (404, "job_not_found")
    assert get(client, job_id).status_code == 200


def test_what_is_not_there_yet_or_any_more(client: httpx.Client, wait_until: Callable[..., None], worker: Any) -> None:
    job_id = submit(client, b"tiles=500 long one")
    assert refused(get(client, f"{job_id}/result")) == (409, "not_finished")
    assert refused(get(client, f"{job_id}/files/0")) == (409, "not_finished")
    assert refused(get(client, f"{job_id}/files/1")) == (404, "file_not_found")
    assert refused(get(client, f"{job_id}/files/{10**30}")) == (404, "file_not_found")
    wait_until(lambda: get(client, job_id).json()["progress"] > 0)
    assert get(client, job_id).json()["status"] == "running"
    gone = client.delete(f"/v1/jobs/{job_id}", headers={"X-Client": "anna"})
    assert (gone.status_code, gone.json()["status"]) == (200, "cancelled")
    journal = worker.log.parent / "journal"
    wait_until(lambda: b"cancelled tiles=500 long one" in journal.read_bytes())
    assert not (worker.log.parent / "jobs" / "files" / job_id).exists()
    for path in (job_id, f"{job_id}/events", f"{job_id}/result", f"{job_id}/files/0"):
        assert refused(get(client, path)) == (410, "job_gone")


def test_lost_files_are_a_410(client: httpx.Client, worker: Any, finished: Callable[[str], dict[str, Any]]) -> None:
    job_id = submit(client, b"x", b"y")
    finished(job_id)
    for file in (worker.log.parent / "jobs" / "files" / job_id).iterdir():
        file.unlink()
    assert refused(get(client, f"{job_id}/result")) == (410, "job_gone")
    assert refused(get(client, job_id)) == (410, "job_gone")


def test_methods(client: httpx.Client) -> None:
    job_id = submit(client, b"x")
    assert client.put(f"/v1/jobs/{job_id}").headers["Allow"] in ("GET, DELETE", "DELETE, GET")
    assert client.head(f"/v1/jobs/{job_id}/events").status_code == 405


def test_no_room_is_a_503_that_says_when_to_come_back(start_worker: Callable[..., Any], tmp_path: Any) -> None:
    with start_worker(tmp_path, job_disk_bytes=3000, job_max_bytes=5000) as worker:
        submit(worker.client, b"tiles=500" + b"x" * 2000)
        response = worker.client.post(JOBS, files=files(b"x" * 2000))
        assert refused(response) == (503, "jobs_full")
        assert int(response.headers["Retry-After"]) >= 1

        def chunked() -> Any:
            yield b'--B\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + b"x" * 2000
            yield b"\r\n--B--\r\n"

        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        assert refused(worker.client.post(JOBS, content=chunked(), headers=headers)) == (503, "jobs_full")
