"""Grafana's variables in a query: those of the dashboard with what was chosen for them, and those of the time shown.

Escapes as Grafana's Prometheus data source does, double backslashes included, so that a query that Grafana would break
is broken here too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.errors import MillisightError

__all__ = ["ALL", "Chosen", "LabelValues", "Variable", "VariableError", "Window", "choose", "substitute"]

ALL = "$__all"
"""Grafana's word for every value of a variable."""

_REFERENCE = re.compile(r"\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?::([^}]+))?\}")
_LABEL_VALUES = re.compile(r"\s*label_values\(\s*(?:(?P<selector>.+?)\s*,\s*)?(?P<label>\w+)\s*\)\s*", re.DOTALL)
_FORMATS = ("regex", "pipe", "csv", "raw", "json", "text")
# Steps that a graph may have, seconds.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)


class VariableError(MillisightError):
    """A variable is unknown, has no such value, or is defined in a way that is not read here."""


@dataclass(frozen=True)
class Variable:
    """One variable of a dashboard.

    Attributes:
        name: As queries say it, without the dollar.
        kind: Grafana's type: query, custom, constant, textbox, interval or datasource.
        query: Where its values are from: `label_values(...)`, or values separated by commas.
        multi: Whether several values may be chosen.
        include_all: Whether all may be chosen.
        all_value: What stands for all of them in a query; None: each of them.
        pattern: Values must match it; its first group, if it has one, is the value.
    """

    name: str
    kind: str
    query: str = ""
    multi: bool = False
    include_all: bool = False
    all_value: str | None = None
    pattern: str = ""


@dataclass(frozen=True)
class Chosen:
    """What was chosen for a variable: some of its values, and maybe a text that stands for them as it is."""

    variable: Variable
    values: tuple[str, ...] = ()
    raw: str | None = None


class LabelValues(Protocol):
    """Looks up the values of a label, as `PrometheusClient.label_values` does."""

    def __call__(self, label: str, selector: str = ..., since: float | None = ...) -> tuple[str, ...]:
        """Values of the label, sorted."""
        ...


@dataclass(frozen=True)
class Window:
    """The time that is shown.

    Attributes:
        start: Unix time in seconds.
        end: Unix time in seconds, after `start`.
        points: Points that a graph may have.
        scrape_s: Seconds between two scrapes, as the data source of Grafana is told.
    """

    start: float
    end: float
    points: int = 240
    scrape_s: float = 15.0

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.end - self.start

    @property
    def step_s(self) -> float:
        """Seconds between two points: a round number, no shorter than the time between scrapes."""
        wanted = max(self.seconds / self.points, self.scrape_s)
        return next((float(step) for step in _STEPS if step >= wanted), wanted)

    @property
    def rate_s(self) -> float:
        """Grafana's `$__rate_interval`, in seconds: long enough that a rate always sees four scrapes."""
        return max(self.step_s + self.scrape_s, 4 * self.scrape_s)

    def builtin(self, name: str) -> str | None:
        """The value of a variable that every dashboard has; None for another name."""
        seconds = {"__interval": self.step_s, "__rate_interval": self.rate_s, "__range": self.seconds}
        if name in seconds:
            return _duration(seconds[name])
        if name.endswith("_ms") and name[:-3] in seconds:
            return str(round(1000 * seconds[name[:-3]]))
        moments = {"__from": self.start, "__to": self.end}
        if name in moments:
            return str(round(1000 * moments[name]))
        return str(round(self.seconds)) if name == "__range_s" else None


def choose(
    variables: Sequence[Variable], wishes: Mapping[str, Sequence[str]], window: Window, label_values: LabelValues
) -> dict[str, Chosen]:
    """What every variable of a dashboard stands for: what is wished, else all, else its first value.

    Args:
        variables: Of the dashboard, in its order; later ones may ask for earlier ones.
        wishes: Name to values; `All` or `$__all` means all of them.
        window: The time that is shown; values are those of series in it.
        label_values: Asks Prometheus.

    Raises:
        VariableError: A wish is for no variable of the dashboard, is too many, or cannot be; or a definition is not
            read here.
        PrometheusError: Prometheus does not answer.
    """
    if unknown := sorted(set(wishes) - {variable.name for variable in variables}):
        known = ", ".join(variable.name for variable in variables) or "none"
        raise VariableError(f"The dashboard has no variable {', '.join(unknown)}. It has: {known}.")
    chosen: dict[str, Chosen] = {}
    for variable in variables:
        found = _options(variable, chosen, window, label_values)
        chosen[variable.name] = _choice(variable, tuple(wishes.get(variable.name, ())), found)
    return chosen


def substitute(text: str, chosen: Mapping[str, Chosen], window: Window, form: str = "") -> str:
    """A query, or a title, with the values of its variables in it.

    Args:
        text: May hold `$name`, `${name}`, `${name:format}` and `[[name]]`; `$1` of `label_replace` is left alone.
        chosen: As `choose` gives it.
        window: The time that is shown.
        form: Format of variables that name none: `text` for people; empty: as Prometheus wants them.

    Raises:
        VariableError: A variable or a format is not known.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[4]
        if name.isdigit():
            return match[0]
        if (builtin := window.builtin(name)) is not None:
            return builtin
        if name not in chosen:
            known = ", ".join(f"${known}" for known in chosen) or "none"
            raise VariableError(f"${name} is no variable of the dashboard, in `{text}`. It has: {known}.")
        return _formatted(chosen[name], match[3] or match[5] or form)

    return _REFERENCE.sub(value, text)


def _options(
    variable: Variable, chosen: Mapping[str, Chosen], window: Window, label_values: LabelValues
) -> tuple[str, ...]:
    match variable.kind:
        case "datasource":
            return ()
        case "custom" | "interval":
            # `name : value` is a value under another name.
            found = tuple(part.split(" : ")[-1].strip() for part in variable.query.split(",") if part.strip())
        case "constant" | "textbox":
            return (variable.query,)
        case "query":
            parsed = _LABEL_VALUES.fullmatch(variable.query)
            if parsed is None:
                raise VariableError(f"${variable.name} is `{variable.query}`; only label_values(...) is read here.")
            selector = substitute(parsed["selector"] or "", chosen, window)
            found = label_values(parsed["label"], selector, window.start)
        case kind:
            raise VariableError(f"${variable.name} is of the kind {kind}, which is not read here.")
    if not variable.pattern:
        return found
    matches = [re.search(variable.pattern.strip("/"), value) for value in found]
    return tuple(match[1] if match.re.groups else match[0] for match in matches if match)


def _choice(variable: Variable, wished: tuple[str, ...], found: tuple[str, ...]) -> Chosen:
    if len(wished) > 1 and not variable.multi:
        raise VariableError(f"${variable.name} takes one value, not {len(wished)}: {', '.join(wished)}.")
    everything = {"All", ALL} & set(wished)
    if everything and not variable.include_all:
        raise VariableError(
            f"${variable.name} takes one of {', '.join(found) or 'nothing that Prometheus has'}, not all."
        )
    if wished and not everything:
        if found and variable.kind != "textbox" and (absent := sorted(set(wished) - set(found))):
            raise VariableError(f"${variable.name} has no value {', '.join(absent)}. It has: {', '.join(found)}.")
        return Chosen(variable, wished)
    if variable.include_all:
        return Chosen(variable, found, variable.all_value)
    return Chosen(variable, found[:1])


def _formatted(chosen: Chosen, form: str) -> str:
    many, values = chosen.variable.multi or chosen.variable.include_all, chosen.values
    if chosen.raw is not None:
        return "All" if form == "text" else chosen.raw
    if not form:
        if not many:
            return _escaped(values[0]) if values else ""
        return _alternatives([_escaped_pattern(value) for value in values])
    formats: dict[str, Callable[[], str]] = {
        "regex": lambda: _alternatives([re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value) for value in values]),
        "pipe": lambda: "|".join(values),
        "csv": lambda: ",".join(values),
        "raw": lambda: ",".join(values),
        "json": lambda: json.dumps(list(values)),
        "text": lambda: " + ".join(values),
    }
    if form not in formats:
        raise VariableError(f"${{{chosen.variable.name}:{form}}}: only {', '.join(_FORMATS)} are read here.")
    return formats[form]()


def _alternatives(patterns: Sequence[str]) -> str:
    return patterns[0] if len(patterns) == 1 else f"({'|'.join(patterns)})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\\\'")


def _escaped_pattern(value: str) -> str:
    # Twice, because the pattern stands in a string of PromQL.
    return re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value.replace("\\", "\\\\\\\\"))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f}s" if float(seconds).is_integer() else f"{1000 * seconds:.0f}ms"
