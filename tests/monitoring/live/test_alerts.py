"""Alerts end to end: the service is really slowed down or flooded, the alert fires, and clears when that is over.

Rules are the committed ones with seconds for minutes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.monitoring.live.stack import Live, live, until
from tests.monitoring.live.subjects import write_subjects
from tests.monitoring.live.traffic import braked, mixed, workers
from tests.monitoring.programs import needs

pytestmark = [pytest.mark.slow, needs("prometheus")]

DRIFT, SATURATED = "RestoreDriftHigh", "RestoreSaturated"
LIMIT_S = 60.0
# Promises have some headroom over what was measured; so much of the time the worker has to stand still to break them.
STOPPED = 0.95


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Live]:
    (tmp_path / "live").mkdir()
    bundles = write_subjects(tmp_path / "bundles")
    with live(tmp_path / "live", bundles, factor=1 / 60, with_run=False, MILLISIGHT_QUEUE="16") as running:
        yield running


@contextmanager
def load(stack: Live, rate: float, tasks: tuple[str, ...] = ("denoise",)) -> Iterator[None]:
    """Pictures all the while."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            mixed(stack.server, rate=rate, seconds=1.0, tasks=tasks)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def value(stack: Live, expr: str) -> float:
    """The largest of what a query gives; 0 if it gives nothing."""
    return max((series.last for series in stack.prometheus.instant(expr)), default=0.0)


def test_a_service_that_is_slowed_down_drifts_until_it_is_not(stack: Live) -> None:
    followed = 'restore_drift_ratio{model="live-denoise"}'
    ratio = 'model_target:restore_drift:ratio10m{model="live-denoise"}'
    with load(stack, rate=3):
        until(lambda: 0 < value(stack, ratio) < 1.2, LIMIT_S, "batches are as fast as promised")
        until(lambda: stack.state(DRIFT) == "inactive", LIMIT_S, "nothing is wrong")
        with braked(workers(stack.server), STOPPED):
            until(lambda: stack.state(DRIFT) == "pending", LIMIT_S, "the alert is pending", every=0.05)
            until(lambda: stack.state(DRIFT) == "firing", LIMIT_S, "the alert fires")
            (alert,) = (alert for rule in stack.alert(DRIFT) for alert in rule.alerts)
            assert alert.labels["model"] == "live-denoise"
            assert alert.value > 1.2
            assert "slower than its bundle promises" in alert.annotations["summary"]
            until(lambda: value(stack, followed) > 1.2, LIMIT_S, "admission follows")
        until(lambda: stack.state(DRIFT) == "inactive", LIMIT_S, "the alert clears")
        assert value(stack, ratio) < 1.2


def test_a_flood_saturates_until_it_is_over(stack: Live) -> None:
    with load(stack, rate=3):
        until(lambda: value(stack, "instance:restore_slots_busy:ratio") > 0, LIMIT_S, "something runs")
        assert stack.state(SATURATED) == "inactive"
    with load(stack, rate=120):
        until(lambda: stack.state(SATURATED) == "firing", LIMIT_S, "the alert fires")
        (alert,) = (alert for rule in stack.alert(SATURATED) for alert in rule.alerts)
        assert alert.labels["instance"] == stack.server.url.removeprefix("http://")
        assert alert.value > 0.05
        assert value(stack, "instance:restore_queue:ratio") > 0.5
    with load(stack, rate=1):
        until(lambda: stack.state(SATURATED) == "inactive", LIMIT_S, "the alert clears")
