from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from serving.errors import ModelNotFoundError, SettingsError
from serving.models import Fleet, SharedState, rehearse
from tests.servers import write_known_bundle
from tests.serving.models.conftest import gain_of, settings_for

LIMIT_S = 30.0
Join = Callable[..., Fleet]


def gains(fleet: Fleet) -> dict[str, float]:
    return {model.name: gain_of(model) for model in fleet.keeper.catalogue.models}


def eventually(true: Callable[[], bool]) -> bool:
    limit = time.monotonic() + LIMIT_S
    while not true() and time.monotonic() < limit:
        time.sleep(0.02)
    return true()


def order(fleet: Fleet, *what: Any) -> dict[str, Any]:
    return asyncio.run(fleet.order(*what)).to_json()


@pytest.fixture
def join(zoo: Path) -> Iterator[Join]:
    """One more worker for `zoo`."""
    with ExitStack() as stack:

        def joined(**options: Any) -> Fleet:
            fleet = stack.enter_context(closing(Fleet.of(settings_for(zoo, **options))))
            fleet.open()
            fleet.warm_up()
            return fleet

        yield joined


class SecondWorker:
    """A process that runs `second_worker.py`."""

    def __init__(self, root: Path) -> None:
        script = Path(__file__).with_name("second_worker.py")
        command = [sys.executable, str(script), str(root), str(root.parent / "state")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._read() == "ready"

    def gains(self) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return dict(json.loads(self._read()))

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def test_an_order_to_one_process_is_carried_out_by_all(join: Join, zoo: Path) -> None:
    own, second = join(), SecondWorker(zoo)
    pids = {os.getpid(), second.process.pid}
    try:
        write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
        report = order(own, "reload")
        assert report["complete"]
        assert {worker["pid"] for worker in report["workers"]} == pids
        assert [(worker["state"], worker["swapped"]) for worker in report["workers"]] == [("done", ["first"])] * 2
        assert second.gains() == gains(own) == {"first": 0.75, "second": 0.25, "rain": 1.0}

        order(own, "unload", "second")
        assert second.gains() == gains(own) == {"first": 0.75, "rain": 1.0}
        order(own, "reload")
        assert second.gains() == {"first": 0.75, "rain": 1.0}

        (zoo / "c" / "model.onnx").write_bytes(b"damaged")
        report = order(own, "reload")
        assert [worker["refused"][0]["name"] for worker in report["workers"]] == ["rain"] * 2
        assert second.gains() == gains(own) == {"first": 0.75, "rain": 1.0}

        # Killed, it is not waited for.
        second.process.send_signal(signal.SIGKILL)
        second.process.wait()
        report = order(own, "load", "second")
        assert [worker["pid"] for worker in report["workers"]] == [os.getpid()]
        assert gains(own) == {"first": 0.75, "second": 0.25, "rain": 1.0}
    finally:
        second.process.kill()
        second.process.communicate()


def test_a_worker_that_starts_again_leaves_alone_what_was_unloaded(join: Join) -> None:
    one = join()
    order(one, "unload", "first")
    assert list(gains(join())) == ["second", "rain"]
    order(one, "load", "first")
    assert list(gains(join())) == ["first", "second", "rain"]


def test_a_worker_that_finds_newer_bundles_makes_all_look_again(join: Join, zoo: Path) -> None:
    one = join()
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    assert gains(one)["first"] == 0.5
    join()
    assert eventually(lambda: gains(one)["first"] == 0.75)


def test_an_order_waits_only_so_long_for_who_does_not_follow(join: Join, zoo: Path) -> None:
    one = join(request_timeout=1.0)
    with closing(SharedState(zoo.parent / "state")) as stuck:
        stuck.register()
        stuck.announce("")
        report = order(one, "reload")
        assert not report["complete"]
        assert sorted(worker["state"] for worker in report["workers"]) == ["done", "waiting"]


def test_a_bundle_nobody_has_is_not_ordered(join: Join, zoo: Path) -> None:
    one = join()
    for name in ("nothing", str(zoo / "a"), "../zoo/a"):
        with pytest.raises(ModelNotFoundError, match="Loaded: first, second, rain"):
            order(one, "load", name)
    with closing(SharedState(zoo.parent / "state")) as state:
        assert state.orders_after(0) == []


def test_a_defect_is_told_and_ends_nothing(join: Join, zoo: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = join()

    def defect(_: object) -> None:
        raise LookupError("on purpose")

    one.keeper._on_change = defect
    report = order(one, "reload")
    assert [(worker["state"], worker["error"]) for worker in report["workers"]] == [("failed", "LookupError")]
    assert "on purpose" in caplog.text
    one.keeper._on_change = None
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    assert order(one, "reload")["workers"][0]["swapped"] == ["first"]


def test_changes_are_seen_by_themselves_if_so_set(join: Join, zoo: Path) -> None:
    watching, asleep = join(watch_s=0.1), join()
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    shutil.rmtree(zoo / "b")
    assert eventually(lambda: gains(watching) == {"first": 0.75, "rain": 1.0})
    assert gains(asleep) == {"first": 0.5, "second": 0.25, "rain": 1.0}


def test_the_rehearsal_finds_what_a_worker_would(zoo: Path) -> None:
    settings = settings_for(zoo)
    rehearse(settings)
    for folder in "abc":
        (zoo / folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(SettingsError, match="None of the bundles"):
        rehearse(settings)
    with closing(SharedState(settings.state)) as state:
        assert state.outcomes(0) == []  # it was no worker
        state.order("unload", "first")
    rehearse(settings)  # nothing is served because somebody wanted it so
