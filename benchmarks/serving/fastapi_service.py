"""The same work behind a minimal FastAPI application on uvicorn: what a careful afternoon gives."""

import json
import sys
from typing import Annotated

import uvicorn
from fastapi import Body, FastAPI, Response

from benchmarks.serving.restore import Workshop, format_of


def create(bundles: dict[str, str], target: str) -> FastAPI:
    """An application with one route a bundle."""
    workshop, app = Workshop(bundles, target), FastAPI()
    for route in bundles:
        _add(app, workshop, route)

    @app.get("/ready")
    def ready() -> None:
        """Answers once everything is loaded."""

    return app


def _add(app: FastAPI, workshop: Workshop, route: str) -> None:
    @app.post(route)
    def restore(data: Annotated[bytes, Body(media_type="image/*")]) -> Response:
        # Not async: FastAPI runs it on a thread.
        picture_format = format_of(data)
        return Response(workshop.restore(route, data, picture_format), media_type=f"image/{picture_format}")


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    uvicorn.run(
        create(settings["bundles"], settings["target"]), port=settings["port"], log_level="warning", access_log=False
    )
