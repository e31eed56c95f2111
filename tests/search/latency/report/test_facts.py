from collections.abc import Callable
from typing import Any

import pytest

from search.latency.report.facts import Facts, check_label, noise_floor, size_label
from search.latency.table import LatencyTable

Plant = Callable[..., LatencyTable]


@pytest.fixture(scope="module")
def table(plant: Plant) -> LatencyTable:
    return plant()


def without(table: LatencyTable, size: int, row: int) -> LatencyTable:
    """The table with one row of one size less."""
    parts = list(table.sizes)
    rows = parts[size].rows
    parts[size] = parts[size].model_copy(update={"rows": rows[:row] + rows[row + 1 :]})
    return table.model_copy(update={"sizes": tuple(parts)})


def test_a_whole_table_has_a_model_and_misses_nothing(table: LatencyTable) -> None:
    facts = Facts(table)
    assert facts.model is not None
    assert set(facts.missing.values()) == {()}
    assert facts.widest_error == max(check.accuracy.mape for check in table.checks)


def test_a_missing_row_is_named_where_it_is_missing(table: LatencyTable) -> None:
    gone = table.sizes[1].rows[3]
    facts = Facts(without(table, 1, 3))
    (key,) = facts.missing[(256, 256)]
    assert (key.operation, key.in_channels, key.out_channels, key.divisor) == (
        gone.operation,
        gone.in_channels,
        gone.out_channels,
        gone.divisor,
    )
    assert facts.missing[(128, 128)] == facts.missing[(512, 512)] == ()
    assert key in facts.keys
    assert facts.model is None
    assert facts.stated_error((256, 256)) is None


def test_sizes_come_smallest_first(plant: Plant) -> None:
    facts = Facts(plant(sizes=((256, 256), (64, 512), (128, 128))))
    assert list(facts.rows) == [(128, 128), (64, 512), (256, 256)]


def test_every_timing_counts_once(table: LatencyTable) -> None:
    facts = Facts(table)
    held_out = [check for check in table.checks if check.kind == "held-out"]
    twice = sum(len(check.networks) for check in held_out)
    assert twice > 0
    assert len(facts.timings) == len(list(table.timings())) - twice
    assert sum(len(facts.at(size)) for size in {timed.size for timed in facts.timings}) == len(facts.timings)


def test_the_same_name_at_another_size_is_another_timing(table: LatencyTable) -> None:
    places = [timed.size for timed in Facts(table).timings if timed.entry.id == "reference"]
    assert sorted(places) == [(128, 128), (256, 256), (512, 512)]


def test_noise_floor_is_the_median_of_a_kind(table: LatencyTable) -> None:
    timings = Facts(table).timings
    errors = sorted(timed.entry.error for timed in timings if timed.kind == "chain")
    floor = noise_floor(timings, "chain")
    assert floor is not None
    assert sum(error < floor for error in errors) == sum(error > floor for error in errors)
    assert noise_floor([], "chain") is None


def test_unstable_timings_come_loosest_first(plant: Plant) -> None:
    facts = Facts(plant(noise=0.05, seed=5))
    errors = [timed.entry.error for timed in facts.unstable]
    assert errors == sorted(errors, reverse=True)
    assert len(errors) == sum(not timed.entry.stable for timed in facts.timings)


def test_an_error_is_stated_only_where_a_check_says_something(table: LatencyTable) -> None:
    facts = Facts(table)
    assert facts.model is not None
    assert facts.stated_error((128, 128)) == facts.model.relative_error(128, 128)
    first = [check for check in table.checks if check.kind == "held-out"][:1]
    some = Facts(table.model_copy(update={"checks": tuple(first)}))
    assert some.stated_error((128, 128)) == first[0].accuracy.mape
    assert some.stated_error((256, 256)) is None
    none: dict[str, Any] = {"checks": ()}
    assert Facts(table.model_copy(update=none)).widest_error is None


def test_labels(plant: Plant) -> None:
    table = plant(sizes=((64, 128), (256, 512)))
    assert size_label((64, 128)) == "128x64"
    assert {check_label(check) for check in table.checks} == {
        "held-out, 128x64",
        "held-out, 512x256",
        "optimum, 512x256",
        "unseen size, 384x192",
    }
