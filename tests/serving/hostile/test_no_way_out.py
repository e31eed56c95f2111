"""No address in a request is ever followed: a listening trap hears nothing, and the workers open no connection."""

from __future__ import annotations

import io
import ipaddress
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.servers import Server
from tests.serving.contract.pictures import icc_profile, noise, saved, with_chunk
from tests.serving.contract.processes import worker_processes
from tests.serving.contract.wire import END, FORM, client_of, part, send_form, send_raw

ROUTE = "/v1/derain"
PNG = saved(noise(20, 24, 3))
# Every header that some server, proxy or library takes an address from.
HEADERS = (
    "Referer", "Origin", "Link", "Location", "Content-Location", "Forwarded", "From", "Via", "Refresh", "Destination",
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-URL", "X-Rewrite-URL", "X-Callback-URL",
    "X-Image-URL", "X-Request-Id", "X-Deadline-Ms", "X-API-Key", "Authorization", "Cookie", "User-Agent", "traceparent",
    "tracestate", "baggage", "b3", "Accept-Language", "Profile", "SourceMap", "Bentoml-Store", "X-Args",
)  # fmt: skip
QUERY = ("model", "scale", "image", "url", "callback", "format", "quality", "metadata", "src", "webhook")


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    with listening() as listener:
        yield listener


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with client_of(server) as client:
        yield client


@pytest.fixture
def url(trap: socket.socket) -> str:
    return f"http://127.0.0.1:{trap.getsockname()[1]}/picture.png"


def check_silence(trap: socket.socket) -> None:
    # Whoever follows an address later, on a thread, gets a moment for it.
    time.sleep(0.2)
    with pytest.raises(BlockingIOError):
        trap.accept()


def finished_files(client: httpx.Client, job: str) -> list[dict[str, Any]]:
    for _ in range(200):
        answer = client.get(job).json()
        if answer["status"] == "done":
            return list(answer["files"])
        time.sleep(0.05)
    raise AssertionError(f"The job is not done: {answer}")


def bodies_with(url: bytes) -> dict[str, tuple[bytes, str]]:
    """Bodies that are, or hold, an address, and their content types."""
    entity = b'<!DOCTYPE svg [<!ENTITY x SYSTEM "' + url + b'">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>'
    image = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="' + url + b'"/></svg>'
    return {
        "raw": (url, "image/png"),
        "text": (url, "text/plain"),
        "no picture": (url, "application/octet-stream"),
        "uri list": (url, "text/uri-list"),
        "json": (b'{"image": "' + url + b'"}', "application/json"),
        "urlencoded": (b"image=" + url, "application/x-www-form-urlencoded"),
        "svg entity": (b'<?xml version="1.0"?>' + entity, "image/svg+xml"),
        "svg image": (image, "image/svg+xml"),
        "svg as png": (image, "image/png"),
        "external body": (b"", f'message/external-body; access-type=URL; URL="{url.decode()}"'),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n(" + url + b") run\n", "image/png"),
        "part": (part("image", url) + END, FORM),
        "text part": (part("image", url, None, None) + END, FORM),
        "typed text part": (part("image", url, None, "text/uri-list") + END, FORM),
        "part named so": (part(url.decode(), PNG) + END, FORM),
        "location of a part": (b"--XX\r\nContent-Location: " + url + b"\r\n" + part("image", b"")[4:] + END, FORM),
    }


def pictures_with(url: bytes) -> dict[str, bytes]:
    """Good pictures whose metadata holds an address."""
    exif = Image.Exif()
    exif[0x010E] = exif[0x8298] = exif[0x9286] = url.decode()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" photo:url="' + url + b'"/>'
    profile = icc_profile(b"RGB ") + url
    pixels = noise(20, 24, 3)
    known = {"exif": exif, "icc_profile": profile}
    found = {file_format: saved(pixels, file_format, **known) for file_format in ("PNG", "JPEG", "TIFF")}
    found["WebP"] = saved(pixels, "WEBP", exif=exif, xmp=xmp, icc_profile=profile)
    found["XMP in a JPEG"] = saved(pixels, "JPEG", xmp=xmp, comment=url)
    chunks = {
        b"tEXt": b"URL\0" + url,
        b"zTXt": b"URL\0\0" + zlib.compress(url),
        b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + xmp,
        b"eXIf": url,
    }
    found |= {f"{kind.decode()} in a PNG": with_chunk(PNG, kind, data) for kind, data in chunks.items()}
    return found


def test_no_body_is_an_address(client: httpx.Client, trap: socket.socket, url: str) -> None:
    for body, content_type in bodies_with(url.encode()).values():
        response = client.post(ROUTE, content=body, headers={"Content-Type": content_type})
        assert 400 <= response.status_code < 500
    check_silence(trap)


def test_no_file_of_a_job_is_an_address(client: httpx.Client, trap: socket.socket, url: str) -> None:
    for body, content_type in bodies_with(url.encode()).values():
        response = client.post("/v1/jobs?task=derain", content=body, headers={"Content-Type": content_type})
        assert response.status_code == 202 or 400 <= response.status_code < 500
        if response.status_code == 202:
            files = finished_files(client, response.headers["Location"])
            assert [(file["status"], file["error"]["code"]) for file in files] == [("failed", "not_an_image")]
    check_silence(trap)


def test_no_metadata_is_followed(client: httpx.Client, trap: socket.socket, url: str) -> None:
    for name, data in pictures_with(url.encode()).items():
        response = send_form(client, ROUTE, data)
        assert response.status_code == 200, name
        # A profile is the one thing that is kept as it came.
        if "icc_profile" not in Image.open(io.BytesIO(data)).info:
            assert url.encode() not in response.content, name
    check_silence(trap)


def test_no_header_is_followed(client: httpx.Client, trap: socket.socket, url: str) -> None:
    for name in HEADERS:
        response = send_raw(client, ROUTE, PNG, **{name: url})
        assert response.status_code in (200, 400, 401, 403, 422), name
    check_silence(trap)


def test_no_name_or_option_is_followed(client: httpx.Client, trap: socket.socket, url: str) -> None:
    for filename in (url, url.replace("http", "file"), f"|{url}", "\\\\127.0.0.1\\share\\x.png"):
        assert client.post(ROUTE, files={"image": (filename, PNG, url)}).status_code == 200
    for name in QUERY:
        for route in (ROUTE, "/v1/super-resolution"):
            response = client.post(route, params={name: url}, content=PNG, headers={"Content-Type": "image/png"})
            assert 400 <= response.status_code < 500, name
    for path in (url, f"/v1/{url}", f"/v1/models/{url}", "/v1/models/..%2F..%2Fetc%2Fpasswd"):
        assert client.get("/" + path.lstrip("/")).status_code in (404, 405)
    check_silence(trap)


def test_the_trap_can_be_sprung(trap: socket.socket) -> None:
    with socket.create_connection(trap.getsockname(), timeout=5):
        time.sleep(0.05)
        trap.accept()[0].close()


class Watch:
    """Looks at the connections of processes, again and again on a thread, and keeps the outgoing ones."""

    def __init__(self, processes: list[psutil.Process], port: int) -> None:
        self._processes = processes
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.looks = 0
        self.outgoing: set[str] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            self.looks += 1
            for process in self._processes:
                for connection in process.net_connections("inet"):
                    # Ours come in on the server's port; what leaves has some other port on this side.
                    if connection.raddr and connection.laddr.port != self._port:
                        self.outgoing.add(f"{connection.laddr} -> {connection.raddr}")


def test_the_workers_open_no_connection(server: Server, client: httpx.Client, url: str) -> None:
    port = client.base_url.port
    assert port is not None
    assert ipaddress.ip_address(client.base_url.host).is_loopback
    with Watch(worker_processes(server), port) as watch:
        for body, content_type in bodies_with(url.encode()).values():
            client.post(ROUTE, content=body, headers={"Content-Type": content_type})
        for data in pictures_with(url.encode()).values():
            assert send_raw(client, ROUTE, data).status_code == 200
        for path in ("/metrics", "/docs.json", "/v1/models", "/livez", "/readyz"):
            assert client.get(path).status_code == 200
        limit = time.monotonic() + 30
        while watch.looks <= 3 and time.monotonic() < limit:  # on a busy machine a look takes long
            time.sleep(0.05)
    assert watch.looks > 3
    assert watch.outgoing == set()


def test_an_outgoing_connection_would_be_seen() -> None:
    with listening() as listener, socket.create_connection(listener.getsockname()):
        with Watch([psutil.Process()], port=1) as watch:
            time.sleep(0.2)
        assert any(f"port={listener.getsockname()[1]}" in line for line in watch.outgoing)


def test_the_pictures_are_good_ones() -> None:
    for name, data in pictures_with(b"http://example.org/x").items():
        assert np.asarray(Image.open(io.BytesIO(data))).shape == (20, 24, 3), name
