"""`bentoml serve serving.service:RestorationService`: BentoML runs the workers, our application answers.

BentoML keeps /livez, /readyz, worker processes, access log and shutdown. Everything else goes to our own application:
its typed endpoints answer 500 for every picture Pillow cannot read and fetch addresses found in a body.
"""

from __future__ import annotations

import contextlib
import os

import bentoml
from starlette.types import Receive, Scope, Send

from runtime.errors import MillisightError
from serving.app import create_app
from serving.guard import check_guard
from serving.jobs import open_store
from serving.jobs.jobs import OFF
from serving.models import rehearse
from serving.settings import PREFIX, Settings
from serving.workplace import Workplace

# BentoML's own limit on a request, a last resort: its 504 skips our error format, and the work behind it goes on.
# `Settings` keeps read and request timeouts together below it.
BACKSTOP_S = 600


class Restoration:
    """Restores pictures: one instance in each worker process."""

    def __init__(self) -> None:
        self._place = Workplace.open(Settings.from_environment())
        self.app = create_app(self._place)
        self._place.warm_up()

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


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Hands a request to the application of this worker's service instance.

    A plain function, not the application itself: BentoML asks a mounted Starlette application which paths it has and
    answers all others itself, with its own /docs.json, a page that describes nothing and errors in plain text.
    """
    await bentoml.get_current_service().app(scope, receive, send)


def _workers() -> int:
    """What MILLISIGHT_WORKERS says; `check` refuses what is no number of workers, with a sentence."""
    text = os.environ.get(f"{PREFIX}WORKERS", "1")
    return max(1, int(text)) if text.isascii() and text.isdecimal() else 1


RestorationService = bentoml.service(
    name="RestorationService",
    workers=_workers(),
    traffic={"timeout": BACKSTOP_S},
    # Its labels hold raw paths: every path a scanner tries would add series for ever.
    metrics={"enabled": False},
    # It answers 500 to a Content-Type that is not UTF-8 and writes line breaks out of paths; ours is in `guard`.
    logging={"access": {"enabled": False}},
)(Restoration)
RestorationService.mount_asgi_app(answer, path="/", name="millisight")
