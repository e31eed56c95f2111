"""Grafana's variables in queries, as Grafana puts them in."""

from __future__ import annotations

import pytest

from monitoring.variables import ALL, Chosen, Variable, VariableError, Window, choose, substitute

WINDOW = Window(1000.0, 1000.0 + 900, points=240, scrape_s=15)
MANY = Variable("model", "query", "label_values(info, model)", multi=True, include_all=True)
ONE = Variable("task", "custom", "denoise,derain")


def put(text: str, *values: str, variable: Variable = MANY, raw: str | None = None) -> str:
    return substitute(text, {variable.name: Chosen(variable, values, raw)}, WINDOW)


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ('x{model=~"$model"}', ("a",), 'x{model=~"a"}'),
        ('x{model=~"$model"}', ("a", "b"), 'x{model=~"(a|b)"}'),
        ('x{model=~"${model}"}', ("a.1", "b"), r'x{model=~"(a\\.1|b)"}'),
        ('x{model=~"[[model]]"}', ("a",), 'x{model=~"a"}'),
        ("x{model=~`${model:regex}`}", ("a.1", "b"), r"x{model=~`(a\.1|b)`}"),
        ("${model:pipe}", ("a.1", "b"), "a.1|b"),
        ("${model:csv}", ("a", "b"), "a,b"),
        ("Model ${model:text}", ("a", "b"), "Model a + b"),
        ("${model:json}", ("a", "b"), '["a", "b"]'),
        ('label_replace(x, "y", "$1", "z", "(.*)")', ("a",), 'label_replace(x, "y", "$1", "z", "(.*)")'),
        ("$models", ("a",), None),
        ("${model:moon}", ("a",), None),
    ],
)
def test_values_are_put_in_as_grafana_does(text: str, values: tuple[str, ...], result: str | None) -> None:
    if result is None:
        with pytest.raises(VariableError):
            put(text, *values)
    else:
        assert put(text, *values) == result


def test_one_value_is_put_in_as_it_is_and_all_may_have_a_text_of_their_own() -> None:
    assert put('x{task="$task"}', "de.rain", variable=ONE) == 'x{task="de.rain"}'
    assert put('x{model=~"$model"}', "a", "b", raw=".*") == 'x{model=~".*"}'


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("rate(x[$__rate_interval])", "rate(x[60s])"),
        ("rate(x[${__rate_interval}])", "rate(x[60s])"),
        ("x[$__interval]", "x[15s]"),
        ("x[$__range]", "x[900s]"),
        ("$__range_s $__interval_ms $__from $__to", "900 15000 1000000 1900000"),
    ],
)
def test_the_time_shown_is_in_every_dashboard(text: str, result: str) -> None:
    assert substitute(text, {}, WINDOW) == result


def test_steps_are_round_and_rates_see_four_scrapes() -> None:
    day = Window(0, 86_400, points=240, scrape_s=15)
    assert (day.step_s, day.rate_s) == (600, 615)
    fine = Window(0, 60, points=240, scrape_s=1)
    assert (fine.step_s, fine.rate_s) == (1, 4)


class Labels:
    """Values of labels by selector, and what was asked."""

    def __init__(self, values: dict[tuple[str, str], tuple[str, ...]]) -> None:
        self.values, self.asked = values, list[tuple[str, str, float | None]]()

    def __call__(self, label: str, selector: str = "", since: float | None = None) -> tuple[str, ...]:
        self.asked.append((label, selector, since))
        return self.values[label, selector]


def test_later_variables_ask_with_what_was_chosen_before() -> None:
    task = Variable("task", "query", "label_values(info, task)", multi=True, include_all=True, all_value=".*")
    model = Variable("model", "query", 'label_values(info{task=~"$task"}, model)', include_all=True)
    labels = Labels({
        ("task", "info"): ("denoise", "derain"),
        ("model", 'info{task=~"denoise"}'): ("a",),
        ("model", 'info{task=~".*"}'): ("a", "b"),
    })  # fmt: skip
    chosen = choose([task, model], {"task": ["denoise"]}, WINDOW, labels)
    assert (chosen["task"].values, chosen["model"].values) == (("denoise",), ("a",))
    everything = choose([task, model], {"model": [ALL]}, WINDOW, labels)
    assert (everything["task"].raw, everything["model"].values) == (".*", ("a", "b"))
    assert {since for _, _, since in labels.asked} == {WINDOW.start}


@pytest.mark.parametrize(
    ("variable", "wishes", "problem"),
    [
        (ONE, {"moon": ["full"]}, "no variable moon"),
        (ONE, {"task": ["denoise", "derain"]}, "takes one value"),
        (ONE, {"task": ["upscale"]}, "no value upscale"),
        (ONE, {"task": ["All"]}, "not all"),
        (Variable("x", "query", "query_result(up)"), {}, "only label_values"),
        (Variable("x", "adhoc"), {}, "of the kind adhoc"),
    ],
)
def test_wishes_and_definitions_that_cannot_be(variable: Variable, wishes: dict[str, list[str]], problem: str) -> None:
    with pytest.raises(VariableError, match=problem):
        choose([variable], wishes, WINDOW, Labels({}))


def test_without_a_wish_it_is_the_first_value_and_a_pattern_cuts_values() -> None:
    assert choose([ONE], {}, WINDOW, Labels({}))["task"].values == ("denoise",)
    port = Variable("port", "query", "label_values(up, instance)", pattern="/.*:(\\d+)/")
    assert choose([port], {}, WINDOW, Labels({("instance", "up"): ("a:90", "b")}))["port"].values == ("90",)
    docs = Variable("docs", "textbox", "http://127.0.0.1/docs")
    assert choose([docs], {}, WINDOW, Labels({}))["docs"].values == ("http://127.0.0.1/docs",)
