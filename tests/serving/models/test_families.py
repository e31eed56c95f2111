from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.models.facts import Facts
from serving.models.families import Ranking, rank

IMAGES = ("kodak", "psnr-y", 24)
OTHER = ("urban", "psnr-y", 100)
XEON = ("Xeon", "-1t")


def measured(db: float, ms: float) -> Facts:
    return Facts(parameters=1, here_ms=1.0, quality={IMAGES: db}, speed={XEON: ms})


@pytest.mark.parametrize(
    ("members", "order", "roles"),
    [
        pytest.param([(30, 10)], (0,), (0, 0, 0), id="alone: every role"),
        pytest.param([(30, 10), (33, 40)], (1, 0), (0, 1, 1), id="two: nothing is between, balanced is best"),
        pytest.param([(33, 40), (30, 10)], (0, 1), (1, 0, 0), id="two, found the other way round"),
        pytest.param([(30, 10), (32, 20), (33, 40)], (2, 1, 0), (0, 1, 2), id="three"),
        pytest.param([(30, 10), (32, 11), (33, 40)], (2, 1, 0), (0, 1, 2), id="three, the middle near fast"),
        pytest.param([(30, 10), (29, 20), (33, 40)], (2, 0, 1), (0, 2, 2), id="the middle one loses to fast"),
        pytest.param([(30, 10), (32, 50), (33, 40)], (2, 1, 0), (0, 2, 2), id="the slowest is not the best"),
        pytest.param([(30, 10), (31, 15), (32, 22), (33, 40)], (3, 2, 1, 0), (0, 2, 3), id="nearest by ratio"),
        pytest.param([(33, 10), (30, 40)], (0, 1), (0, 0, 0), id="one wins in both"),
        pytest.param([(30, 10), (30, 10)], (0, 1), (0, 0, 0), id="equals: who was found first"),
        pytest.param([(30, 0), (31, 5), (33, 40)], (2, 1, 0), (0, 1, 2), id="a time of zero"),
    ],
)
def test_roles(members: list[tuple[float, float]], order: tuple[int, ...], roles: tuple[int, int, int]) -> None:
    assert rank([measured(*member) for member in members]) == Ranking(order, *roles)


def test_times_and_db_are_compared_only_where_they_can_be() -> None:
    other_images = Facts(1, 1.0, {OTHER: 40.0}, {XEON: 10})
    # Compared all the same, 40 dB would win; without common images the larger network does.
    assert rank([Facts(9, 1.0, {IMAGES: 30.0}, {XEON: 20}), other_images]).best == 0
    # Both images: the first that all share decides.
    both = Facts(1, 1.0, {OTHER: 20.0, IMAGES: 31.0}, {XEON: 10})
    assert rank([Facts(9, 1.0, {IMAGES: 30.0}, {XEON: 20}), both]).best == 1
    # Timed on another device, the record does not count and what this machine needs does.
    elsewhere = Facts(1, 5.0, {}, {("Abacus", ""): 0.1})
    assert rank([Facts(1, 2.0, {}, {XEON: 20}), elsewhere]).fast == 0
    assert rank([Facts(1, 2.0, {}, {XEON: 20}), Facts(1, 5.0, {}, {XEON: 0.1})]).fast == 1


def test_without_measured_quality_the_larger_network_is_better() -> None:
    assert rank([Facts(10, 1.0), Facts(30, 3.0), Facts(20, 2.0)]) == Ranking((1, 2, 0), fast=0, balanced=2, best=1)


def consistent(members: Sequence[tuple[float, float]], ranking: Ranking) -> bool:
    """Going from fast to best costs time and gives quality at every step, and nobody beats a role in its own trade."""
    db, ms = zip(*members, strict=True)
    fast, balanced, best = ranking.fast, ranking.balanced, ranking.best
    return (
        ms[fast] == min(ms)
        and db[best] == max(db)
        and ms[fast] <= ms[balanced] <= ms[best]
        and db[fast] <= db[balanced] <= db[best]
        and [db[member] for member in ranking.order] == sorted(db, reverse=True)
        and sorted(ranking.order) == list(range(len(members)))
    )


VALUES = st.one_of(st.integers(1, 6).map(float), st.floats(0.001, 1000))


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=7, unique_by=lambda member: member[0]))
def test_the_roles_follow_db_and_ms(members: list[tuple[float, float]]) -> None:
    assert consistent(members, rank([measured(*member) for member in members]))


def test_the_property_can_fail() -> None:
    members = [(30.0, 10.0), (29.0, 20.0), (33.0, 40.0)]
    assert not consistent(members, Ranking((2, 0, 1), fast=0, balanced=1, best=2))  # slower and worse than fast
    assert not consistent(members, Ranking((0, 2, 1), fast=0, balanced=2, best=2))  # not best first


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6, unique_by=lambda member: member), st.randoms())
def test_best_and_fast_do_not_depend_on_the_order_found(members: list[tuple[float, float]], random: Random) -> None:
    turned = list(members)
    random.shuffle(turned)
    first, second = (rank([measured(*member) for member in each]) for each in (members, turned))
    assert members[first.best][0] == turned[second.best][0]
    assert members[first.fast][1] == turned[second.fast][1]
