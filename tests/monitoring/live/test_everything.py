"""Every panel, every rule and every family, against a real Prometheus that scrapes the real service and a real run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from monitoring.dashboards import BOARDS, Board
from monitoring.panels import Dashboard, read_dashboard
from monitoring.rules import load_rules
from monitoring.variables import Window
from serving.metrics import families
from tests.monitoring.live.proofs import family_faults, panel_faults, rule_faults
from tests.monitoring.live.stack import EXPORTER, PROMETHEUS, Live, live, until
from tests.monitoring.live.subjects import write_subjects
from tests.monitoring.live.traffic import job, mixed, trouble
from tests.monitoring.programs import needs
from tests.servers import REPOSITORY
from training import telemetry

pytestmark = [pytest.mark.slow, needs("prometheus", EXPORTER)]

# What this machine cannot have; on one with a GPU the panels have to be full.
ABSENT = ("gpu",)
GPU = tuple(family.name for family in families() if family.name.startswith("restore_gpu_"))
ALERT = "RestoreNonfiniteOutputs"


@dataclass(frozen=True)
class Seen:
    """What was done to a stack, and when."""

    live: Live
    start: float
    end: float

    @property
    def window(self) -> Window:
        return Window(self.start, self.end, points=240, scrape_s=1)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    bundles = write_subjects(tmp_path_factory.mktemp("bundles"))
    with live(tmp_path_factory.mktemp("live"), bundles, MILLISIGHT_QUEUE="8") as stack:
        yield _load(stack)


def _load(stack: Live) -> Seen:
    start = time.time()
    # The first event of a kind is in no rate; so everything happens twice.
    for number in range(2):
        codes = trouble(stack.server)
        assert codes == {
            "impossible": 503, "bad": 415, "nan": 500, "unpromised": 200, "stranger": 404, "late": 504, "full": 429,
            "served": 200,
        }  # fmt: skip
        assert job(stack.server) == "done"
        mixed(stack.server, rate=6, seconds=2, bad_share=0.2, seed=number)
    until(lambda: stack.state(ALERT) == "firing", 30, f"{ALERT} fires")
    # Evaluated once a minute, and from what was evaluated before.
    for ratio in ("slo:restore_answers:error_ratio_28d", "slo:restore_tiles:missed_ratio_28d"):
        until(lambda ratio=ratio: bool(stack.prometheus.instant(f"{ratio} > 0")), 200, ratio)  # type: ignore[misc]
    # Its points have to lie before the last step of what is shown.
    time.sleep(3)
    return Seen(stack, start, time.time())


@pytest.fixture(params=BOARDS, ids=lambda board: board.slug)
def board(request: pytest.FixtureRequest) -> tuple[Board, Dashboard]:
    file = REPOSITORY / "deploy" / "grafana" / "dashboards" / f"{request.param.slug}.json"
    return request.param, read_dashboard(file)


def test_every_panel_evaluates_and_says_something(seen: Seen, board: tuple[Board, Dashboard]) -> None:
    needed = board[0].needs()
    faults = panel_faults(board[1], needed, ABSENT, seen.live.prometheus, seen.window)
    assert not faults, "\n".join(faults)
    # The planted fault: before anything was there, nearly every panel says nothing.
    before = Window(seen.start - 600, seen.start - 300, scrape_s=1)
    empty = panel_faults(board[1], needed, ABSENT, seen.live.prometheus, before)
    assert len(empty) > len(board[1].panels) / 2


def test_every_rule_evaluates_and_records(seen: Seen) -> None:
    rules, prometheus = load_rules(PROMETHEUS / "rules"), seen.live.prometheus
    faults = rule_faults(rules, prometheus.rules(), prometheus, seen.start)
    assert not faults, "\n".join(faults)


def test_exported_is_what_the_catalogues_say(seen: Seen) -> None:
    names = [family.name for family in families()]
    prometheus = seen.live.prometheus
    assert {target.health for target in prometheus.targets()} == {"up"}
    assert family_faults("millisight", names, GPU, prometheus) == []
    assert family_faults("millisight-runs", [family.name for family in telemetry.families()], (), prometheus) == []
    # The planted faults: a family more, and one less.
    assert len(family_faults("millisight", [*names, "restore_moons_total"], GPU, prometheus)) == 1
    assert len(family_faults("millisight", names[1:], GPU, prometheus)) == 1
