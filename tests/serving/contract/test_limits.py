"""Rows 20, 21, 23 to 26 and 45: what is too large is refused before it costs anything."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.servers import Server
from tests.serving.contract.pictures import header_only_png, noise, saved
from tests.serving.contract.processes import resident_bytes
from tests.serving.contract.wire import (
    FORM,
    check_refused,
    connect,
    head_of,
    opened,
    part,
    read_to_the_end,
    send_form,
    send_raw,
)

MIB = 2**20
PNG = saved(noise(40, 30, 3))

HUGE = {
    "100000 x 100000": header_only_png(100_000, 100_000),
    "30000 x 30000 in one bit": header_only_png(30_000, 30_000, 1, 0),
    "just over the limit": header_only_png(1001, 1000),
    "a GIF's canvas": b"GIF89a\xff\xff\xff\xff\x00\x00\x00" + b"," + bytes(9) + b"\2\2\x4c\1\0;",
    "a WebP's canvas": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0\xff\x3f\0" + bytes(4),
}


@pytest.mark.core
@pytest.mark.row(20, 21)
@pytest.mark.parametrize("case", HUGE)
def test_20_21_too_many_pixels_are_a_413_that_costs_no_memory(client: httpx.Client, service: Server, case: str) -> None:
    """Row 21 is the third case: more pixels than our limit and far fewer than Pillow's own."""
    for _ in range(3):
        check_refused(send_form(client, "/v1/derain", HUGE[case]), 413, "too_many_pixels")
    before = resident_bytes(service)
    for _ in range(10):
        check_refused(send_raw(client, "/v1/derain", HUGE[case]), 413, "too_many_pixels")
    assert resident_bytes(service) - before < 5 * MIB


@pytest.mark.row(23)
def test_23_a_declared_body_over_the_limit_is_refused_before_it_is_read(service: Server) -> None:
    with connect(service.url) as connection:
        connection.sendall(head_of("/v1/derain", MIB + 1))
        # Not one byte of the body is sent, and yet there is an answer.
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert b'"body_too_large"' in answer


@pytest.mark.row(23)
def test_23_a_client_that_sends_all_of_a_refused_body_still_sees_why(service: Server) -> None:
    """Without lingering the connection would be reset while the client is sending."""
    size = 32 * MIB
    with connect(service.url) as connection:
        connection.sendall(head_of("/v1/derain", size))
        connection.sendall(b"x" * size)
        answer = read_to_the_end(connection)
    assert b'"body_too_large"' in answer


@pytest.mark.row(23)
def test_23_a_body_just_at_the_limit_is_read(client: httpx.Client) -> None:
    data = PNG + b"\0" * (MIB - len(PNG))
    assert send_raw(client, "/v1/derain", data).status_code == 200
    check_refused(send_raw(client, "/v1/derain", data + b"\0"), 413, "body_too_large")


def endless_chunks(head: bytes) -> Iterator[bytes]:
    yield head
    for _ in range(400):
        yield b"x" * 65536


@pytest.mark.core
@pytest.mark.row(24)
@pytest.mark.parametrize(("content_type", "head"), [("image/png", b""), (FORM, part("image", b"")[:-2])])
def test_24_a_chunked_body_over_the_limit_is_refused_and_the_connection_closed(
    client: httpx.Client, service: Server, content_type: str, head: bytes
) -> None:
    headers = {"Content-Type": content_type}
    check_refused(client.post("/v1/derain", content=endless_chunks(head), headers=headers), 413, "body_too_large")
    before = resident_bytes(service)
    for _ in range(3):
        response = client.post("/v1/derain", content=endless_chunks(head), headers=headers)
        check_refused(response, 413, "body_too_large")
        assert response.headers["Connection"] == "close"
    # Three times 25 MiB were sent; the limit is 1 MiB.
    assert resident_bytes(service) - before < 8 * MIB


@pytest.mark.row(25)
def test_25_a_client_that_stalls_gets_a_408(service: Server) -> None:
    with connect(service.url) as connection:
        connection.sendall(head_of("/v1/derain", 1000) + b"abc")
        answer = read_to_the_end(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"read_timeout"' in answer


@pytest.mark.core
@pytest.mark.row(26)
@pytest.mark.parametrize(("scale", "side", "allowed"), [(4, 300, 62_500), (2, 501, 250_000)])
def test_26_a_result_over_the_limit_names_the_allowed_size(
    client: httpx.Client, scale: int, side: int, allowed: int
) -> None:
    response = send_form(client, f"/v1/super-resolution?scale={scale}", saved(noise(side, side, 3) // 64 * 64))
    assert f"{allowed} pixels" in check_refused(response, 413, "result_too_large")


@pytest.mark.row(45)
def test_45_a_side_that_webp_cannot_hold_is_a_422_that_names_the_limit(client: httpx.Client) -> None:
    long = saved(noise(16_384, 1, 3))
    response = send_form(client, "/v1/derain", long, Accept="image/webp")
    assert "16383" in check_refused(response, 422, "side_too_long")
    fits = send_form(client, "/v1/derain", saved(noise(16_383, 1, 3)), Accept="image/webp")
    assert opened(fits).size == (1, 16_383)
