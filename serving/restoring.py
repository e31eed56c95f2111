"""The restoration routes: head, body, pipeline, answer; counted whatever the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.errors import MillisightError
from serving.errors import ClientGoneError, InternalError, NotReadyError, refusal_of
from serving.guard import read_image_bytes
from serving.negotiation import choose_format
from serving.options import DEADLINE_HEADER, TASKS, parse_deadline, parse_options
from serving.pipeline import Order, Result

if TYPE_CHECKING:
    from serving.workplace import Workplace


def restoration_routes(place: Workplace) -> list[Route]:
    """A route for every task."""
    return [Route(f"/v1/{task}", _endpoint(place, task), methods=["POST"]) for task in TASKS]


def _endpoint(place: Workplace, task: str) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of one task: a `_Call`, counted whatever its end."""

    async def endpoint(request: Request) -> Response:
        call = _Call(place, task, request)
        code = InternalError.status
        place.metrics.in_flight.inc()
        try:
            response = await call.answer()
            code = response.status_code
            return response
        except MillisightError as error:
            code = refusal_of(error).status
            raise
        finally:
            place.metrics.in_flight.dec()
            place.metrics.observe_answer(task, call.order, code, call.arrived, time.monotonic())

    return endpoint


class _Call:
    """One request on its way.

    Attributes:
        arrived: Moment of the monotonic clock at which its header was there.
        order: What is wanted, once that is read.
    """

    def __init__(self, place: Workplace, task: str, request: Request) -> None:
        self.arrived = time.monotonic()
        self._place = place
        self._task = task
        self._request = request
        self.order: Order | None = None

    async def answer(self) -> Response:
        place = self._place
        # What can be refused without the body is refused before the body is read.
        order = self.order = self._read_head()
        place.scheduler.check_room(order.deadline)
        start = time.monotonic()
        try:
            data = await read_image_bytes(
                self._request, max_bytes=place.settings.max_body_bytes, timeout_s=place.settings.read_timeout
            )
        except ClientDisconnect as error:
            raise ClientGoneError("The client hung up while sending.") from error
        read_s = time.monotonic() - start
        with place.metrics.watching(order, read_s):
            result = await _unless_client_leaves(place.pipeline.run(data, order), self._request)
        place.metrics.observe_result(result)
        return _answer(order, result, read_s)

    def _read_head(self) -> Order:
        place, request = self._place, self._request
        catalogue = place.fleet.keeper.catalogue
        if not catalogue.ready:
            raise NotReadyError("Models are still loading. Wait until /readyz answers 200.", {"Retry-After": "1"})
        options = parse_options(request.query_params, self._task)
        seconds = parse_deadline(request.headers.get(DEADLINE_HEADER)) or place.settings.request_timeout
        picture_format = options.format or choose_format(",".join(request.headers.getlist("accept")))
        options.check_format(picture_format)
        catalogue.candidates(self._task, options.scale, options.model)
        return Order(self._task, options, picture_format, self.arrived + seconds)


def _answer(order: Order, result: Result, read_s: float) -> Response:
    seconds = order.stages(read_s) | {"predicted": order.predicted_s or 0.0}
    headers = {
        "X-Model": result.model.name,
        "X-Target": result.model.target.slug,
        "Server-Timing": ", ".join(f"{stage};dur={value * 1000:.1f}" for stage, value in seconds.items()),
        "Vary": "Accept",
    }
    return Response(result.data, media_type=f"image/{order.format}", headers=headers)


async def _unless_client_leaves(work: Awaitable[Result], request: Request) -> Result:
    """Waits for the work; when the client hangs up first, the work is cancelled."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_disconnect(request))
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError("The client hung up before the answer was ready.")
        return task.result()
    finally:
        # Also when this request itself is cancelled: nothing is left running without an owner.
        leaving.cancel()
        task.cancel()


async def _until_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
