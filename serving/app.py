"""The routes: a Starlette application that BentoML carries at "/"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.errors import MillisightError
from serving.answers import RequestIdMiddleware, error_handlers
from serving.body import read_image_bytes
from serving.errors import ClientGoneError, InternalError, NotReadyError, refusal_of
from serving.library import Library, LoadedModel
from serving.metrics import NO_MODEL, Metrics
from serving.negotiation import choose_format
from serving.openapi import PATHS, PRODUCT, openapi_document, product_version
from serving.options import TASKS, parse_options
from serving.pipeline import Pipeline, Result, Ticket
from serving.settings import Settings


@dataclass(frozen=True)
class Workplace:
    """Everything a request needs; one per worker."""

    settings: Settings
    library: Library
    pipeline: Pipeline
    metrics: Metrics

    @classmethod
    def open(cls, settings: Settings) -> Workplace:
        """Loads the models and makes the threads; models are not warmed up yet.

        Raises:
            MillisightError: Nothing can be served with these settings.
        """
        place = cls(settings, Library.load(settings), Pipeline(settings), Metrics())
        for model in place.library.models:
            place.metrics.add_model(model)
        return place


def create_app(place: Workplace) -> Starlette:
    """Builds the application. /livez and /readyz are BentoML's and not part of it."""
    document = openapi_document(place.settings)

    async def models(_: Request) -> Response:
        return JSONResponse({"models": place.library.describe()})

    async def docs(_: Request) -> Response:
        return JSONResponse(document)

    async def root(_: Request) -> Response:
        links = {"docs": "/docs.json", "models": "/v1/models", "metrics": "/metrics", "ready": "/readyz"}
        return JSONResponse({"name": PRODUCT, "version": product_version(), "links": links})

    def metrics(_: Request) -> Response:  # not async: Starlette runs it on a thread, it reads files
        body, content_type = place.metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    routes = [Route(f"/v1/{task}", _restoring(place, task), methods=["POST"]) for task in TASKS]
    routes += [
        Route("/v1/models", models),
        Route("/metrics", metrics),
        Route("/docs.json", docs),
        Route("/", root),
    ]
    app = Starlette(
        routes=routes, middleware=[Middleware(RequestIdMiddleware)], exception_handlers=error_handlers(PATHS)
    )
    # A redirect would make clients send a large body twice; /v1/derain/ is simply not a path.
    app.router.redirect_slashes = False
    return app


def _restoring(place: Workplace, task: str) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of one task: `_restore`, counted whatever its end."""

    async def endpoint(request: Request) -> Response:
        call = _Call(task)
        code, start = InternalError.status, time.monotonic()
        place.metrics.in_flight.inc()
        try:
            response = await _restore(place, call, request)
            code = response.status_code
            return response
        except MillisightError as error:
            refusal = refusal_of(error)
            code = refusal.status
            place.metrics.rejected.labels(refusal.reason).inc()
            raise
        finally:
            place.metrics.in_flight.dec()
            place.metrics.requests.labels(task, call.model_name, str(code)).inc()
            place.metrics.request_seconds.labels(task, call.model_name).observe(time.monotonic() - start)

    return endpoint


@dataclass
class _Call:
    """What is known so far about one request, for its metrics."""

    task: str
    model: LoadedModel | None = None

    @property
    def model_name(self) -> str:
        return NO_MODEL if self.model is None else self.model.name


async def _restore(place: Workplace, call: _Call, request: Request) -> Response:
    if not place.library.ready:
        raise NotReadyError("Models are still loading. Wait until /readyz answers 200.", {"Retry-After": "1"})
    # What can be refused without the body is refused before the body is read.
    options = parse_options(request.query_params, call.task)
    model = call.model = place.library.choose(call.task, options.scale, options.model)
    picture_format = choose_format(",".join(request.headers.getlist("accept")))
    start = time.monotonic()
    settings = place.settings
    try:
        data = await read_image_bytes(request, max_bytes=settings.max_body_bytes, timeout_s=settings.read_timeout)
    except ClientDisconnect as error:
        raise ClientGoneError("The client hung up while sending.") from error
    ticket = Ticket(settings.request_timeout)
    ticket.seconds["read"] = time.monotonic() - start
    try:
        result = await _unless_client_leaves(place.pipeline.run(data, model, picture_format, ticket), request)
    finally:
        for stage, seconds in list(ticket.seconds.items()):
            place.metrics.observe_stage(stage, model, seconds)
    place.metrics.observe_pixels(model, result.input_pixels, result.output_pixels)
    timing = ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in ticket.seconds.items())
    headers = {"X-Model": model.name, "Server-Timing": timing, "Vary": "Accept"}
    return Response(result.data, media_type=f"image/{picture_format}", headers=headers)


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
