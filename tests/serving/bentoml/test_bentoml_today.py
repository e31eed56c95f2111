"""What BentoML itself does with hostile or heavy requests: why our application stands where its endpoints would be.

Each test asserts today's behaviour of the installed version, so that an upgrade shows what changed. One that fails is
no defect of ours: it says which of our defences may have become needless, or which assumption no longer holds.
"""

from __future__ import annotations

import importlib.metadata
import io
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.servers import Server, running_server
from tests.serving.contract.wire import client_of

HERE = Path(__file__).parent
MIB = 2**20
ORIGIN = "https://friend.example"


def changed(what: str, where: str) -> str:
    return f"BentoML changed ({importlib.metadata.version('bentoml')}): {what}. See {where}."


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("pictures"), (), service="services:Pictures", cwd=HERE) as server:
        yield server


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("crowded"), (), service="services:Crowded", cwd=HERE) as server:
        yield server


@pytest.fixture
def client(pictures: Server) -> Iterator[httpx.Client]:
    with client_of(pictures) as client:
        yield client


def picture(file_format: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3)).save(buffer, file_format)
    return buffer.getvalue()


def send(client: httpx.Client, data: bytes, part_type: str = "image/png") -> httpx.Response:
    return client.post("/size", files={"image": ("x", data, part_type)})


def test_a_good_picture_is_read(client: httpx.Client) -> None:
    """So it is the bad ones below that fail, not these services."""
    assert send(client, picture("PNG")).json() == [4, 3]


@pytest.mark.parametrize("data", [b"", b"junk", picture("PNG")[:40]], ids=["empty", "junk", "cut"])
def test_gotcha_1_a_bad_picture_is_a_500(client: httpx.Client, data: bytes) -> None:
    """We decode ourselves, and every failure is a typed 4xx: rows 5, 13 and 17 of the contract."""
    assert send(client, data).status_code == 500, changed("bad pictures are no 500 any more", "runtime/decode.py")


@pytest.mark.parametrize(("stored", "declared"), [("PNG", "image/jpeg"), ("JPEG", "image/jpg")])
def test_gotcha_2_a_picture_under_another_type_is_a_500(client: httpx.Client, stored: str, declared: str) -> None:
    """We decide by the first bytes: row 4."""
    response = send(client, picture(stored), declared)
    assert response.status_code == 500, changed("the declared type no longer decides", "runtime/formats.py")


def test_gotcha_3_refusals_are_arrays(client: httpx.Client) -> None:
    """We write our own errors, one object of one form: every row."""
    response = client.post("/refuse", json={"text": "this"})
    assert response.status_code == 400
    message = changed("the form of its errors", "serving/guard/answers.py")
    assert response.json() == [{"error": "this is refused"}], message


def test_gotcha_4_a_text_instead_of_a_file_is_taken_for_an_address(client: httpx.Client) -> None:
    """Private ones are refused since CVE-2025-54381; public ones are fetched. Our form parser takes no text: row 7."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        address = f"http://127.0.0.1:{trap.getsockname()[1]}/x.png"
        response = client.post("/size", data={"image": address})
        message = changed("what it does with addresses", "serving/guard/multipart.py")
        assert response.status_code == 400, message
        assert "URL" in response.text or "address" in response.text.lower(), message
        with pytest.raises(BlockingIOError):
            trap.accept()


def test_gotcha_5_bodies_have_no_limit(client: httpx.Client) -> None:
    """We count while the body streams in: rows 23 and 24."""
    response = client.post("/length", json={"text": "x" * 32 * MIB})
    assert (response.status_code, response.text) == (200, str(32 * MIB)), changed(
        "there is a limit on bodies", "serving/guard/body.py"
    )


@pytest.mark.slow
def test_gotcha_6_work_goes_on_after_its_timeout(client: httpx.Client) -> None:
    """Our slots are given back by the thread that works, and tiles ask for the deadline: row 50."""
    for _ in range(2):
        assert client.post("/work", json={"seconds": 8}).status_code == 504
    running = client.post("/running").json()
    assert running > 1, changed("a timeout ends the work, or its thread is waited for", "serving/scheduling")


def test_gotcha_9_every_path_becomes_a_series(client: httpx.Client) -> None:
    """Its metrics are off; ours have labels of fixed sets."""
    client.get("/scanned-by-nobody.php")
    message = changed("paths are no labels any more", "serving/metrics.py")
    assert "scanned-by-nobody" in client.get("/metrics").text, message


def test_every_request_is_kept_until_its_timeout_would_have_been(client: httpx.Client) -> None:
    """Its timer is never cancelled, and holds about 5 kB: with a timeout of minutes, gigabytes under load.

    So our service must run without BentoML's timeout.
    """
    before = client.post("/finished_futures").json()
    for _ in range(100):
        assert client.get("/livez").status_code == 200
    after = client.post("/finished_futures").json()
    assert after - before >= 90, changed("timers of finished requests are cancelled", "serving/service.py")


def nap(server: Server, seconds: float) -> httpx.Response:
    with client_of(server) as fresh:
        return fresh.post("/nap", json={"seconds": seconds}, headers={"Origin": ORIGIN})


def signs(response: httpx.Response) -> tuple[bool, bool]:
    """Whether an answer has the CORS header, and that of the middleware."""
    return "Access-Control-Allow-Origin" in response.headers, "X-Signed" in response.headers


def test_gotchas_7_8_workers_refuse_while_others_idle_and_browsers_cannot_see_it(crowded: Server) -> None:
    """The limit of 2 is 1 for each of the workers, whichever of them gets the connections.

    We hold the queue and the limits in our own application, inside CORS: row 48.
    """
    assert signs(nap(crowded, 0)) == (True, True)
    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: nap(crowded, 0.3), range(2)))
        refused = [answer for answer in answers if answer.status_code != 200]
        if refused:
            break
    else:
        pytest.fail(changed("two requests at a time never were too many for two workers", "serving/scheduling"))
    (refusal,) = refused
    assert refusal.status_code == 429
    assert "Retry-After" not in refusal.headers, changed("429 says when to come back", "serving/scheduling/errors.py")
    assert signs(refusal) == (False, False), changed("429 passes CORS and middleware", "serving/guard/cors.py")


def test_gotcha_8_a_timeout_skips_cors_and_middleware(crowded: Server) -> None:
    """Our own deadline comes first, inside CORS; BentoML's timeout is only a far backstop: row 50."""
    late = nap(crowded, 4)
    assert late.status_code == 504
    assert signs(late) == (False, False), changed("504 passes CORS and middleware", "serving/guard/cors.py")
