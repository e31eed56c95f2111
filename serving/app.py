"""All routes behind the guard: the Starlette application that BentoML carries at "/"."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.guard import error_handlers, guard_middleware, require_admin
from serving.models import routes as model_routes
from serving.openapi import PRODUCT, openapi_document, product_version
from serving.restoring import restoration_routes
from serving.workplace import Workplace


def create_app(place: Workplace) -> Starlette:
    """Builds the application. /livez and /readyz are BentoML's and not part of it."""
    document = openapi_document(place.settings)
    links = {"docs": "/docs.json", "models": "/v1/models", "metrics": "/metrics", "ready": "/readyz"}
    about = {"name": PRODUCT, "version": product_version(), "links": links}

    async def docs(_: Request) -> Response:
        return JSONResponse(document)

    async def root(_: Request) -> Response:
        return JSONResponse(about)

    def metrics(_: Request) -> Response:  # not async: Starlette runs it on a thread, it reads files
        body, content_type = place.metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    routes = [
        *restoration_routes(place),
        *model_routes(place.fleet, require_admin),
        *(place.jobs.routes if place.jobs is not None else []),
        Route("/metrics", metrics),
        Route("/docs.json", docs),
        Route("/", root),
    ]

    def count_refusal(reason: str) -> None:
        place.metrics.rejected.labels(reason).inc()

    def count_request(route: str, method: str, code: int) -> None:
        place.metrics.http_requests.labels(route, method, str(code)).inc()

    guard = guard_middleware(place.settings, count_refusal, place.bodies, count_request)
    handlers = error_handlers([*document["paths"]], count_refusal)
    app = Starlette(routes=routes, middleware=guard, exception_handlers=handlers)
    # A redirect would make clients send a large body twice; /v1/derain/ is simply not a path.
    app.router.redirect_slashes = False
    return app
