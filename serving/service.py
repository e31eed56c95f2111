"""`bentoml serve serving.service:RestorationService`: BentoML runs the workers, our application answers.

BentoML keeps /livez, /readyz, worker processes, access log and shutdown. Everything else goes to our own application:
its typed endpoints answer 500 for every picture Pillow cannot read and fetch addresses found in a body.
"""

from __future__ import annotations

import contextlib
import gc
import os

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.errors import MillisightError
from serving.app import create_app
from serving.guard import check_guard
from serving.guard.answers import BENTOML_PATHS
from serving.jobs import open_store
from serving.jobs.jobs import OFF
from serving.models import rehearse
from serving.settings import PREFIX, Settings
from serving.workplace import Workplace


class Restoration:
    """Restores pictures: one instance in each worker process."""

    def __init__(self) -> None:
        # Numbered from 1 by BentoML's supervisor; None where there is none.
        self._place = Workplace.open(Settings.from_environment(), worker=bentoml.server_context.worker_index or 1)
        self.app = create_app(self._place)
        self._place.warm_up()
        # What is there now stays: the garbage collector need not walk over it again and again while requests wait.
        gc.collect()
        gc.freeze()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Tries everything once in the parent process, which ends with a message when it cannot work.

        A worker that fails is started again for ever, so a mistake found there would never end the start.
        """
        try:
            # A Bento's workers run in its folder, where its zoo/ is; this process stays where it was started.
            with contextlib.chdir(RestorationService.working_dir):
                settings = Settings.from_environment()
                check_guard(settings)
                if settings.jobs != OFF:
                    open_store(settings).close()
                rehearse(settings)
        except MillisightError as error:
            raise SystemExit(f"The service cannot start. {error}") from error

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Begins what runs beside the requests."""
        await self._place.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Ends the worker's threads."""
        await self._place.stop()

    def __is_ready__(self) -> bool:
        """What /readyz asks."""
        return self._place.ready


class FrontService(bentoml.Service[Restoration]):  # type: ignore[misc]  # BentoML is not typed
    """A BentoML service whose requests go to our application, past everything but BentoML's health routes.

    BentoML 1.4.39 would put its own layers before it: a timer for each request that is never cancelled and holds some
    kilobytes until the timeout would have come (`tests/serving/bentoml` shows it), a 504 that skips our error format
    and lets the work go on, a tracing span whether traces are collected or not, and a router that does not know paths
    with a line break. Workers, socket, start, health and shutdown stay BentoML's.
    """

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """What uvicorn serves in each worker."""
        bentoml_app: ASGIApp = super().to_asgi(is_main)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            health = scope["type"] == "http" and scope["path"] in BENTOML_PATHS and scope["method"] in ("GET", "HEAD")
            if scope["type"] == "lifespan" or health:
                await bentoml_app(scope, receive, send)
            else:
                await bentoml.get_current_service().app(scope, receive, send)

        return front


def _workers() -> int:
    """What MILLISIGHT_WORKERS says; `check` refuses what is no number of workers, with a sentence."""
    text = os.environ.get(f"{PREFIX}WORKERS", "1")
    return max(1, int(text)) if text.isascii() and text.isdecimal() else 1


RestorationService = bentoml.service(
    name="RestorationService",
    workers=_workers(),
    # Its labels hold raw paths: every path a scanner tries would add series for ever.
    metrics={"enabled": False},
    # It answers 500 to a Content-Type that is not UTF-8 and writes line breaks out of paths; ours is in `guard`.
    logging={"access": {"enabled": False}},
    service_class=FrontService,
)(Restoration)
