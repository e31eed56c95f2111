"""The same work behind LitServe: one API a bundle, one inference process each."""

import json
import sys
from typing import Annotated

import litserve  # type: ignore[import-untyped]
from fastapi import Body, Response

from benchmarks.serving.restore import Workshop, format_of


class RestorationAPI(litserve.LitAPI):  # type: ignore[misc]
    """One bundle; the whole work is in `predict`, so decoding and encoding are in the inference process as well."""

    def __init__(self, route: str, folder: str, target: str) -> None:
        super().__init__(api_path=route)
        self._place = (route, folder, target)

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Opens the bundle, in the inference process."""
        route, folder, target = self._place
        self._route, self._workshop = route, Workshop({route: folder}, target)

    def decode_request(self, request: Annotated[bytes, Body(media_type="image/*")]) -> bytes:
        """Its annotation is what LitServe has FastAPI read: the raw body."""
        return request

    def predict(self, data: bytes) -> bytes:
        """One picture file in, one out."""
        return self._workshop.restore(self._route, data, format_of(data))

    def encode_response(self, output: bytes) -> Response:
        """The answer."""
        return Response(output, media_type=f"image/{format_of(output)}")


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    apis = [RestorationAPI(route, folder, settings["target"]) for route, folder in settings["bundles"].items()]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=1, timeout=600)
    server.run(host="127.0.0.1", port=settings["port"], log_level="warning", generate_client_file=False)
