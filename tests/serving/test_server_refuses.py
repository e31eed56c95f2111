"""The real server, requests it must refuse: one row a case, always a 4xx, always the same JSON."""

from __future__ import annotations

import io
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

FORM = "multipart/form-data; boundary=XX"


def check_refused(response: httpx.Response, status: int, code: str) -> str:
    assert response.headers["Content-Type"] == "application/json", response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "request_id"}
    assert (response.status_code, error["code"]) == (status, code), error
    assert error["request_id"] == response.headers["X-Request-Id"] != ""
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return str(error["message"])


def part(name: str, data: bytes, filename: str | None = "x.png", part_type: str | None = "image/png") -> bytes:
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    head += f"\r\nContent-Type: {part_type}" if part_type else ""
    return head.encode() + b"\r\n\r\n" + data + b"\r\n"


END = b"--XX--\r\n"
URL = b"http://127.0.0.1:9/picture.png"


def good_png(size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


PNG = good_png()

FORMS: dict[str, tuple[bytes, int, str]] = {
    "no part at all": (END, 400, "missing_image"),
    "empty body": (b"", 400, "broken_form"),
    "another part name": (part("picture", PNG) + END, 400, "missing_image"),
    "part without a name": (b"--XX\r\nContent-Type: image/png\r\n\r\n" + PNG + b"\r\n" + END, 400, "missing_image"),
    "empty file": (part("image", b"") + END, 400, "empty"),
    "text instead of a file": (part("image", b"hello", None, None) + END, 400, "not_a_file"),
    "address instead of a file": (part("image", URL, None, None) + END, 400, "not_a_file"),
    "address as a typed text": (part("image", URL, None, "text/plain") + END, 400, "not_a_file"),
    "address inside a file": (part("image", URL) + END, 415, "not_an_image"),
    "two pictures": (part("image", PNG) + part("image", PNG) + END, 400, "unexpected_part"),
    "an extra field": (part("image", PNG) + part("strength", b"2", None, None) + END, 400, "unexpected_part"),
    "a hundred parts": (part("image", PNG) * 100 + END, 400, "unexpected_part"),
    "cut in the middle": (part("image", PNG)[: len(PNG) // 2], 400, "broken_form"),
    "cut before the closing boundary": (part("image", PNG), 400, "broken_form"),
    "not a form": (b"hello" * 100, 400, "broken_form"),
    "endless part header": (b"--XX\r\nA: " + b"x" * 100_000, 400, "broken_form"),
    "many part headers": (b"--XX\r\n" + b"A: b\r\n" * 1000 + b"\r\n" + END, 400, "broken_form"),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_wrong_form_is_a_400(client: httpx.Client, case: str) -> None:
    body, status, code = FORMS[case]
    check_refused(client.post("/v1/derain", content=body, headers={"Content-Type": FORM}), status, code)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=", f"{FORM}{'X' * 300}"]
)
def test_a_form_without_usable_boundary_is_a_400(client: httpx.Client, content_type: str) -> None:
    response = client.post("/v1/derain", content=part("image", PNG) + END, headers={"Content-Type": content_type})
    check_refused(response, 400, "broken_form")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "text/plain",
        "",
        "application/vnd.bentoml+pickle",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=XX",
        "\xff\xfe",
    ],
)
def test_a_body_that_does_not_claim_to_be_a_picture_is_a_415(client: httpx.Client, content_type: str) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")} if content_type else {}
    check_refused(client.post("/v1/derain", content=PNG, headers=headers), 415, "unsupported_media_type")


def test_a_packed_body_is_a_415(client: httpx.Client) -> None:
    headers = {"Content-Type": "image/png", "Content-Encoding": "gzip"}
    check_refused(client.post("/v1/derain", content=zlib.compress(PNG), headers=headers), 415, "unsupported_media_type")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header_only_png(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("picture.png", PNG)
    return buffer.getvalue()


def saved(picture_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(PNG)).save(buffer, picture_format, **options)
    return buffer.getvalue()


def flipped_in_idat() -> bytes:
    data = bytearray(PNG)
    data[PNG.index(b"IDAT") + 200] ^= 0x10
    return bytes(data)


def broken_quantisation() -> bytes:
    data = saved("JPEG")
    at = data.index(b"\xff\xdb")
    return data[: at + 2] + struct.pack(">H", 3) + data[at + 4 :]


def text_bomb() -> bytes:
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 80_000_000))
    return PNG[:33] + bomb + PNG[33:]


ANY = (415, 422)
BODIES: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "random bytes": (np.random.default_rng(5).bytes(3000), (415,)),
    "html": (b"<html><body><img src='x.png'></body></html>", (415,)),
    "zip": (zipped(), (415,)),
    "pdf": (b"%PDF-1.7\n1 0 obj<<>>endobj\n", (415,)),
    "address": (URL, (415,)),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", (415,)),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", (415,)),
    "psd": (b"8BPS\0\1" + b"\0" * 200, (415,)),
    "fits": (b"SIMPLE  =                    T" + b" " * 3000, (415,)),
    "ppm": (b"P6 2 2 255\n" + b"\1" * 12, (415,)),
    "ico": (saved("ICO"), (415,)),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100, (415,)),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 100, (415,)),
    "avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 100, (415,)),
    "png signature only": (b"\x89PNG\r\n\x1a\n", ANY),
    "one byte": (b"\x89", ANY),
    "sides of zero": (header_only_png(0, 0), ANY),
    "flipped bit in the pixels": (flipped_in_idat(), (422,)),
    "wrong checksum": (PNG[:30] + b"\0\0\0" + PNG[33:], (422,)),
    "broken quantisation tables": (broken_quantisation(), (422,)),
    "text bomb": (text_bomb(), (413, 422)),
    "100000 x 100000": (header_only_png(100_000, 100_000), (413,)),
    "30000 x 30000 in one bit": (header_only_png(30_000, 30_000, 1, 0), (413,)),
    "just over the limit": (header_only_png(1001, 1000), (413,)),
    "moving picture": (saved("GIF", save_all=True, append_images=[Image.new("RGB", (30, 40))]), (422,)),
    "two-page tiff": (saved("TIFF", save_all=True, append_images=[Image.new("RGB", (30, 40))]), (422,)),
}
for _format in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
    _whole = saved(_format)
    for _percent in (25, 50, 99):
        BODIES[f"{_format} cut at {_percent} %"] = (_whole[: len(_whole) * _percent // 100], (422,))


@pytest.mark.parametrize("case", BODIES)
def test_a_bad_picture_is_a_4xx_in_a_form_and_raw(client: httpx.Client, case: str) -> None:
    data, statuses = BODIES[case]
    by_form = client.post("/v1/derain", files={"image": ("x.png", data, "image/png")})
    raw = client.post("/v1/derain", content=data, headers={"Content-Type": "image/png"})
    assert by_form.status_code in statuses, by_form.text
    code = by_form.json()["error"]["code"]
    assert code in {413: ["too_many_pixels"]}.get(by_form.status_code, [code])
    check_refused(by_form, by_form.status_code, code)
    check_refused(raw, by_form.status_code, code)


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream"])
def test_an_empty_raw_body_is_a_400(client: httpx.Client, content_type: str) -> None:
    check_refused(client.post("/v1/derain", content=b"", headers={"Content-Type": content_type}), 400, "empty")


def read_to_the_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(client: httpx.Client) -> None:
    address = client.base_url.host, client.base_url.port
    with socket.create_connection(address, timeout=10) as connection:
        head = "POST /v1/derain HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1048577\r\n\r\n"
        connection.sendall(head.encode())
        # Not one byte of the body is sent, and yet there is an answer.
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert b'"body_too_large"' in answer


def test_a_client_that_sends_all_of_a_refused_body_still_sees_why(client: httpx.Client) -> None:
    """Without lingering the connection would be reset while the client is sending."""
    size = 32 * 2**20
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        head = f"POST /v1/derain HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        connection.sendall(b"x" * size)
        answer = read_to_the_end(connection)
    assert b'"body_too_large"' in answer


def endless_chunks(head: bytes) -> Iterator[bytes]:
    yield head
    for _ in range(200):
        yield b"x" * 65536


@pytest.mark.parametrize(("content_type", "head"), [("image/png", b""), (FORM, part("image", b"")[:-2])])
def test_a_chunked_body_over_the_limit_is_refused_and_the_connection_closed(
    client: httpx.Client, content_type: str, head: bytes
) -> None:
    response = client.post("/v1/derain", content=endless_chunks(head), headers={"Content-Type": content_type})
    check_refused(response, 413, "body_too_large")
    assert response.headers["Connection"] == "close"


def test_a_body_just_at_the_limit_is_read(client: httpx.Client) -> None:
    data = PNG + b"\0" * (2**20 - len(PNG))
    headers = {"Content-Type": "image/png"}
    assert client.post("/v1/derain", content=data, headers=headers).status_code == 200
    check_refused(client.post("/v1/derain", content=data + b"\0", headers=headers), 413, "body_too_large")


def test_a_client_that_stalls_gets_a_408(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        head = "POST /v1/derain HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
        connection.sendall(head.encode())
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"read_timeout"' in answer


def test_a_result_over_the_limit_names_the_allowed_size(client: httpx.Client) -> None:
    response = client.post("/v1/super-resolution?scale=4", files={"image": good_png((300, 300))})
    assert "62500 pixels" in check_refused(response, 413, "result_too_large")


@pytest.mark.parametrize("query", ["strength=1", "scale=2", "Model=x", "model=a&model=b", "callback="])
def test_an_unknown_option_is_a_400_that_names_it(client: httpx.Client, query: str) -> None:
    message = check_refused(client.post(f"/v1/derain?{query}", files={"image": PNG}), 400, "unknown_option")
    assert query.partition("=")[0] in message


@pytest.mark.parametrize("scale", ["3", "0", "-1", "two", "2.0", ""])
def test_a_scale_out_of_range_is_a_422_that_names_it(client: httpx.Client, scale: str) -> None:
    response = client.post(f"/v1/super-resolution?scale={scale}", files={"image": PNG})
    assert "'scale'" in check_refused(response, 422, "bad_value")


@pytest.mark.parametrize(
    "route",
    [
        "/v1/derain?model=nobody",
        "/v1/derain?model=sr-x2",
        "/v1/super-resolution?scale=4&model=sr-x2",
        "/v1/derain?model=%00",
    ],
)
def test_an_unknown_model_is_a_404_with_the_list(client: httpx.Client, route: str) -> None:
    assert "sr-x2 (super-resolution x2)" in check_refused(client.post(route, content=PNG), 404, "model_not_found")


@pytest.mark.parametrize("accept", ["text/html", "image/avif", "image/png;q=0", "application/json"])
def test_an_accept_without_our_formats_is_a_406(client: httpx.Client, accept: str) -> None:
    response = client.post("/v1/derain", files={"image": PNG}, headers={"Accept": accept})
    check_refused(response, 406, "not_acceptable")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_a_405_with_allow(client: httpx.Client, method: str) -> None:
    response = client.request(method, "/v1/derain")
    check_refused(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/models", "/metrics", "/docs.json", "/"])
def test_what_is_only_read_cannot_be_posted_to(client: httpx.Client, path: str) -> None:
    response = client.post(path, content=b"x")
    check_refused(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path", ["/v1/dehaze", "/v1/derain/", "/v1", "/docs", "/static_content/x.js", "/%00", "/../etc"]
)
def test_another_path_is_a_404_with_the_list(client: httpx.Client, path: str) -> None:
    message = check_refused(client.get(path), 404, "not_found")
    assert "/v1/super-resolution" in message


@pytest.mark.parametrize(
    ("sent", "kept"), [("trace-1.a_B", True), ("a b", False), ("x" * 65, False), ("<b>", False), ("", False)]
)
def test_a_harmless_request_id_is_kept(client: httpx.Client, sent: str, kept: bool) -> None:
    response = client.get("/v1/nothing", headers={"X-Request-Id": sent})
    check_refused(response, 404, "not_found")
    assert (response.headers["X-Request-Id"] == sent) is kept


def test_the_connection_goes_on_after_a_refusal(client: httpx.Client) -> None:
    for _ in range(3):
        assert client.post("/v1/derain?nope=1", files={"image": PNG}).status_code == 400
        assert client.post("/v1/derain", files={"image": PNG}).status_code == 200


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def test_no_address_is_ever_followed(client: httpx.Client, trap: socket.socket) -> None:
    url = f"http://127.0.0.1:{trap.getsockname()[1]}/picture.png".encode()
    route = "/v1/derain"
    tries: list[Callable[[], httpx.Response]] = [
        lambda: client.post(route, content=part("image", url, None, None) + END, headers={"Content-Type": FORM}),
        lambda: client.post(route, files={"image": ("x.png", url, "image/png")}),
        lambda: client.post(route, content=url, headers={"Content-Type": "image/png"}),
        lambda: client.post(route, content=url, headers={"Content-Type": "text/plain"}),
        lambda: client.post(route, content=url),
        lambda: client.post(route, json={"image": url.decode()}),
        lambda: client.post(route, data={"image": url.decode()}),
        lambda: client.post(f"{route}?image={url.decode()}"),
        lambda: client.post(f"{route}?model={url.decode()}"),
    ]
    for attempt in tries:
        assert 400 <= attempt().status_code < 500
    with pytest.raises(BlockingIOError):
        trap.accept()


def test_the_trap_can_be_sprung(trap: socket.socket) -> None:
    with socket.create_connection(trap.getsockname(), timeout=5):
        time.sleep(0.05)
        trap.accept()[0].close()
