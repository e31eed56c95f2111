"""Metric names and labels out of PromQL."""

from __future__ import annotations

import pytest

from monitoring.dashboards.promql import PromqlError, Selector, read


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("up", {"up"}),
        ("1 + 2.5e-3 * Inf", set()),
        ("rate(a_total[5m])", {"a_total"}),
        ('rate(a_total{b="c{d[", e=~"f"}[$__rate_interval] offset 5m)', {"a_total"}),
        ("sum by (model, le) (rate(a_bucket[5m]))", {"a_bucket"}),
        ("sum(rate(a[5m])) by (model)", {"a"}),
        ("sum without (instance) (a) / on (model) group_left (target) b", {"a", "b"}),
        ("a and on (run) b == 1 unless c or d", {"a", "b", "c", "d"}),
        ("level:metric:rate5m{x='y'} > bool 1", {"level:metric:rate5m"}),
        ("max_over_time(rate(a[5m])[1h:30s])", {"a"}),
        ("a @ end() - a offset -1m", {"a"}),
        ("histogram_quantile(0.95, sum by (le) (increase(a_bucket[$__range])))", {"a_bucket"}),
        ("count(a) or vector(0)", {"a"}),
        ("# b is not asked\na", {"a"}),
        ('label_replace(max by (x) (a), "y", "$1", "x", "(.{12}).*")', {"a"}),
        ("avg(a) * scalar(sum(b))", {"a", "b"}),
    ],
)
def test_names(expr: str, names: set[str]) -> None:
    assert read(expr).names == names


def test_labels_that_narrow_that_group_and_that_are_made() -> None:
    reading = read('label_replace(sum by (c, d) (a{b=~"$b", e!="by"}) / on (f) group_left (g) a, "h", "$1", "c", ".*")')
    assert reading.selectors == (Selector("a", ("b", "e")), Selector("a"))
    assert reading.labels == {"c", "d", "f", "g"}
    assert reading.made == {"h"}


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("sum(a", "not closed"),
        ("a[5m", "not closed"),
        ('a{b="c"', "not closed"),
        ('{__name__="a"}', "by labels alone"),
        ("a ; b", "not understood"),
        ('a{b="c', "not understood"),
        ("label_replace(a)", "name of a label"),
        ("sum(a])", "closes nothing"),
        ("a)", "closes nothing"),
    ],
)
def test_what_is_no_promql_is_refused(expr: str, said: str) -> None:
    with pytest.raises(PromqlError, match=said):
        read(expr)
