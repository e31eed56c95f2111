"""Rows 48 to 51, 54 and 55: too much to do, too little time, clients that leave, networks that fail.

The networks of this server take no time for the pictures they are measured with, and a minute for white ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import numpy as np
import pytest

from tests.servers import Server
from tests.serving.contract.pictures import noise, saved
from tests.serving.contract.processes import sample, wait_until_busy, wait_until_idle
from tests.serving.contract.wire import (
    check_refused,
    check_retry_after,
    client_of,
    connect,
    head_of,
    opened,
    send_raw,
)

ORIGIN = "https://friend.example"
BLACK = saved(np.zeros((40, 30, 3), np.uint8))
# About a thousand tiles of a twentieth of a second or more.
MINUTE = saved(np.full((500, 500, 3), 255, np.uint8))
# A few tiles.
SECONDS = saved(np.full((60, 60, 3), 255, np.uint8))
PATIENT = {"X-Deadline-Ms": "120000"}


@pytest.fixture
def client(strained: Server) -> Iterator[httpx.Client]:
    with client_of(strained) as client:
        yield client


def finished(client: httpx.Client, route: str, code: int) -> float:
    task = route.partition("?")[0].removeprefix("/v1/")
    return sample(client, "restore_requests_total", task=task, code=str(code))


def in_flight(client: httpx.Client) -> float:
    return sample(client, "restore_requests_in_flight")


def check_work_has_stopped(server: Server, client: httpx.Client) -> None:
    """Of a minute's work nothing goes on: the processor rests, and the slot serves the next request."""
    assert wait_until_idle(server, 15)
    assert in_flight(client) == 0
    assert send_raw(client, "/v1/denoise?model=quick", BLACK).status_code == 200


@pytest.mark.row(50)
def test_50_work_that_goes_on_would_be_seen(strained: Server) -> None:
    """The planted fault: while a request is being worked on, the server is not idle."""
    route = "/v1/derain?model=dawdle-gone"
    with connect(strained.url) as connection:
        connection.sendall(head_of(route, len(MINUTE), PATIENT) + MINUTE)
        wait_until_busy(strained)
        assert not wait_until_idle(strained, 1.5)
    assert wait_until_idle(strained, 15)


@pytest.mark.row(50)
def test_50_a_deadline_that_passes_is_a_504_and_ends_the_work(strained: Server, client: httpx.Client) -> None:
    route = "/v1/derain?model=dawdle-deadline"
    before = finished(client, route, 504)
    check_refused(send_raw(client, route, MINUTE), 504, "deadline_exceeded")
    check_work_has_stopped(strained, client)
    assert finished(client, route, 504) == before + 1


@pytest.mark.row(50)
def test_50_a_deadline_of_the_client_is_a_504_too(strained: Server, client: httpx.Client) -> None:
    response = send_raw(client, "/v1/derain?model=dawdle-asked", MINUTE, **{"X-Deadline-Ms": "1500"})
    check_refused(response, 504, "deadline_exceeded")
    check_work_has_stopped(strained, client)


@pytest.mark.row(51)
def test_51_a_client_that_leaves_ends_the_work(strained: Server, client: httpx.Client) -> None:
    route = "/v1/derain?model=dawdle-gone"
    before = finished(client, route, 499)
    with connect(strained.url) as connection:
        connection.sendall(head_of(route, len(MINUTE), PATIENT) + MINUTE)
        wait_until_busy(strained)
        assert in_flight(client) == 1
    check_work_has_stopped(strained, client)
    assert finished(client, route, 499) == before + 1


@pytest.mark.row(51)
def test_51_a_client_that_leaves_while_sending_is_counted_too(strained: Server, client: httpx.Client) -> None:
    route = "/v1/derain?model=dawdle-gone"
    before = finished(client, route, 499)
    with connect(strained.url) as connection:
        connection.sendall(head_of(route, 10_000) + b"x" * 100)
        time.sleep(0.2)
    assert wait_until_idle(strained, 15)
    assert finished(client, route, 499) == before + 1


@pytest.mark.row(48)
def test_48_a_full_queue_is_a_429_that_says_when_to_come_back(strained: Server, workers: int) -> None:
    """One slot, three places: of many slow requests at once some are served and the others refused."""

    def ask(_: int) -> httpx.Response:
        with client_of(strained) as client:
            return send_raw(client, "/v1/derain?model=dawdle-crowd", SECONDS, Origin=ORIGIN, **PATIENT)

    with ThreadPoolExecutor(12 * workers) as pool:
        responses = list(pool.map(ask, range(12 * workers)))
    assert {response.status_code for response in responses} == {200, 429}
    for response in responses:
        # A browser could not read the refusal without it.
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        if response.status_code == 429:
            check_refused(response, 429, "queue_full")
            check_retry_after(response)


@pytest.mark.row(48)
@pytest.mark.parametrize("origin", [ORIGIN, "https://stranger.example"])
def test_48_only_listed_origins_are_let_in(client: httpx.Client, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answers = [
        send_raw(client, "/v1/denoise?model=quick", BLACK, Origin=origin),
        client.options("/v1/denoise", headers=asked),
    ]
    for answer in answers:
        assert answer.headers.get("Access-Control-Allow-Origin") == (ORIGIN if origin == ORIGIN else None)


@pytest.mark.row(49)
def test_49_a_deadline_that_cannot_be_met_is_refused_at_once(client: httpx.Client) -> None:
    """A millisecond is not enough for a thousand tiles, and what was measured at the start says so."""
    response = send_raw(client, "/v1/denoise?model=quick", saved(noise(1200, 1200, 3)), **{"X-Deadline-Ms": "1"})
    check_refused(response, 503, "deadline_unattainable")
    check_retry_after(response)


@pytest.mark.row(54)
def test_54_clients_that_send_a_byte_now_and_then_hold_no_slot(strained: Server, client: httpx.Client) -> None:
    """Thousands of idle connections: see tests/serving/guard."""
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(strained.url)) for _ in range(40)]
        for connection in slow:
            connection.sendall(head_of("/v1/denoise?model=quick", len(BLACK), PATIENT))
        for at in range(2):
            for connection in slow:
                connection.sendall(BLACK[at : at + 1])
            for _ in range(4):
                assert send_raw(client, "/v1/denoise?model=quick", BLACK).status_code == 200
            time.sleep(1)
        assert in_flight(client) >= 40, "they are still being waited for"


@pytest.mark.row(55)
@pytest.mark.parametrize("model", ["nan", "infinite"])
def test_55_a_network_that_fails_is_a_500_never_a_black_picture(client: httpx.Client, model: str) -> None:
    route = f"/v1/denoise?model={model}"
    pixels = np.zeros((200, 190, 3), np.uint8)
    assert np.asarray(opened(send_raw(client, route, saved(pixels)))).max() == 0
    # One bad tile of several is enough.
    pixels[:100, :100] = 255
    check_refused(send_raw(client, route, saved(pixels)), 500, "model_output_invalid")


@pytest.mark.row(55)
def test_55_a_failing_picture_spoils_no_other(strained: Server) -> None:
    dark, bright = np.full((80, 90, 3), 7, np.uint8), np.full((80, 90, 3), 255, np.uint8)

    def ask(number: int) -> bool:
        pixels = bright if number % 2 else dark
        with client_of(strained) as client:
            response = send_raw(client, "/v1/denoise?model=nan", saved(pixels), **PATIENT)
        if number % 2:
            return bool(response.status_code == 500)
        return bool((np.asarray(opened(response)) == dark).all())

    # As many at once as have a place.
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(ask, range(12)))
