"""What is counted of batches and requests of one model, over real networks."""

from __future__ import annotations

import time

import pytest

from serving.metrics import NO_MODEL
from serving.options import Options
from serving.pipeline import Order
from serving.workplace import Workplace
from tests.servers import write_known_bundle
from tests.serving.contract.networks import nan_network
from tests.serving.metrics.places import PROMISED_MS, SIDE, TARGET, opened, restore, seen, write_promised_bundle

RUN = {"model": "quick", "target": TARGET}
WHOLE = {"task": "denoise", **RUN}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    folder = tmp_path_factory.mktemp("place")
    write_promised_bundle(folder / "b" / "a", "quick", 1e6)
    write_promised_bundle(folder / "b" / "n", "nan", 1e6, model=nan_network())
    write_promised_bundle(folder / "b" / "s", "slow", 1e-6)
    write_known_bundle(folder / "b" / "z", "silent", "denoise", tile=SIDE)  # no record at all
    return opened(folder / "state", folder / "b", jobs="off")


class Since:
    """What was counted since this was made."""

    def __init__(self, place: Workplace) -> None:
        self._place, self._before = place, seen(place)

    def more(self, name: str, **labels: str) -> float:
        return seen(self._place).sum(name, **labels) - self._before.sum(name, **labels)


# First of the file: nothing has happened yet.
def test_what_rules_watch_is_there_before_it_happens(place: Workplace) -> None:
    now = seen(place)
    assert now.by("restore_nonfinite_outputs_total", "model") == dict.fromkeys(("quick", "nan", "slow", "silent"), 0)
    decisions = ("admitted", "queue_full", "deadline_unattainable")
    assert now.by("restore_admission_decisions_total", "decision") == dict.fromkeys(decisions, 0)
    assert now.by("restore_deadlines_total", "outcome") == {"met": 0, "missed": 0}
    assert now.by("restore_budget_tiles_total", "outcome") == {"kept": 0, "missed": 0}


def test_full_size_tiles_are_compared_with_promise_and_budget(place: Workplace) -> None:
    since = Since(place)
    assert restore(place, 150, 150, model="quick") == 200
    tiles = since.more("restore_tiles_total", model="quick")
    assert tiles > 4
    assert since.more("restore_batch_tiles_sum", model="quick") == tiles
    assert since.more("restore_tile_duration_seconds_count", **RUN) == tiles
    assert since.more("restore_budget_tiles_total", outcome="kept", **RUN) == tiles
    assert since.more("restore_budget_tiles_total", outcome="missed", **RUN) == 0
    promised = since.more("restore_inference_promised_seconds_total", **RUN)
    assert promised == pytest.approx(tiles * PROMISED_MS / 1000)
    measured = since.more("restore_inference_seconds_total", **RUN)
    assert measured == pytest.approx(since.more("restore_tile_duration_seconds_sum", **RUN))
    assert 0 < measured < since.more("restore_served_duration_seconds_sum", **RUN)


def test_a_tile_over_the_budget_misses_it(place: Workplace) -> None:
    since = Since(place)
    assert restore(place, model="slow") == 200
    outcomes = [since.more("restore_budget_tiles_total", outcome=outcome) for outcome in ("kept", "missed")]
    assert outcomes == [0, 1]


def test_smaller_tiles_are_compared_with_nothing(place: Workplace) -> None:
    since = Since(place)
    assert restore(place, SIDE, SIDE - 1, model="quick") == 200
    assert since.more("restore_batch_tiles_count", model="quick") == 1
    for name in ("tile_duration_seconds_count", "inference_seconds_total", "inference_promised_seconds_total"):
        assert since.more(f"restore_{name}") == 0, name
    assert since.more("restore_budget_tiles_total") == 0


def test_without_records_there_is_nothing_to_compare_with(place: Workplace) -> None:
    since = Since(place)
    assert restore(place, model="silent") == 200
    assert since.more("restore_tile_duration_seconds_count", model="silent", target=TARGET) == 1
    now = seen(place)
    told = {dict(labels)["model"] for name, labels in now.values if name.startswith("restore_inference_")}
    assert told == {"quick", "slow", "nan"}
    assert "silent" not in now.by("restore_budget_tiles_total", "model")


def test_predicted_and_served_are_of_the_same_requests(place: Workplace) -> None:
    since = Since(place)
    assert [restore(place, model="quick") for _ in range(3)] == [200] * 3
    assert restore(place, model="nobody") == 404
    for name in ("predicted", "served"):
        assert since.more(f"restore_{name}_duration_seconds_count", **WHOLE) == 3
    assert since.more("restore_deadlines_total", outcome="met") == 3
    assert since.more("restore_deadlines_total", outcome="missed") == 0
    assert since.more("restore_requests_total", model=NO_MODEL, code="404") == 1
    assert since.more("restore_admission_decisions_total", decision="admitted") == 3


@pytest.mark.parametrize(
    ("code", "late_s", "met", "missed", "served"),
    [(200, 0, 1, 0, 1), (200, 1, 0, 1, 1), (504, 0, 0, 1, 0), (500, 0, 0, 0, 0), (499, 0, 0, 0, 0)],
)
def test_deadlines_are_of_requests_that_were_waited_for(
    place: Workplace, code: int, late_s: float, met: int, missed: int, served: int
) -> None:
    since, now = Since(place), time.monotonic()
    order = Order("denoise", Options(), "png", now - late_s, place.fleet.keeper.catalogue.find("quick"), now - 1, 0.5)
    place.metrics.observe_answer("denoise", order, code, now - 2, now)
    outcomes = [since.more("restore_deadlines_total", outcome=outcome) for outcome in ("met", "missed")]
    assert outcomes == [met, missed]
    assert since.more("restore_served_duration_seconds_sum", **WHOLE) == pytest.approx(served)
    assert since.more("restore_predicted_duration_seconds_sum", **WHOLE) == pytest.approx(0.5 * served)
    assert since.more("restore_request_duration_seconds_sum", model="quick") == pytest.approx(2)


def test_one_that_was_not_admitted_has_no_deadline_to_keep(place: Workplace) -> None:
    since, now = Since(place), time.monotonic()
    order = Order("denoise", Options(), "png", now, place.fleet.keeper.catalogue.find("quick"))
    place.metrics.observe_answer("denoise", order, 504, now, now)
    assert since.more("restore_requests_total", code="504") == 1
    assert since.more("restore_deadlines_total") == 0


def test_an_answer_that_is_no_picture_is_counted_once_for_its_request(place: Workplace) -> None:
    since = Since(place)
    assert restore(place, 150, 150, level=255, model="nan") == 500  # several tiles, none of them a picture
    assert restore(place, model="nan") == 200
    assert since.more("restore_nonfinite_outputs_total", model="nan", target=TARGET) == 1
    assert since.more("restore_nonfinite_outputs_total") == 1
    assert since.more("restore_rejected_total", reason="model_output") == 1
    assert since.more("restore_requests_total", model="nan", code="500") == 1
