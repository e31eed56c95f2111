"""Which series and labels an expression of PromQL refers to.

Prometheus alone parses PromQL; whether an expression is right is asked of promtool, and of a running Prometheus. This
reads tokens, enough to tell metric names from functions, keywords, labels and Grafana's variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import MillisightError

__all__ = ["PromqlError", "Reading", "Selector", "read"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<variable>\$\{[^}]*\}|\$\w+)
      | (?P<number>\d[\w.]*(?:(?<=[eE])[+-]\d+)?|\.\d+)
      | (?P<name>[A-Za-z_:][\w:]*)
      | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],@])
    """,
    re.VERBOSE,
)
# Each is followed by labels in parentheses; the last two may be.
_WITH_LABELS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "offset", "bool", "atan2", "inf", "nan"})
_OPEN, _CLOSE = "([{", ")]}"


class PromqlError(MillisightError):
    """An expression is not PromQL, or uses what is not read here."""


@dataclass(frozen=True)
class Selector:
    """Series that an expression asks for.

    Attributes:
        name: Of the metric.
        labels: Names of the labels that it is narrowed by.
    """

    name: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What an expression refers to.

    Attributes:
        selectors: In their order, each as often as it stands there.
        labels: Labels that series are grouped or joined by.
        made: Labels that `label_replace` or `label_join` make.
    """

    selectors: tuple[Selector, ...]
    labels: frozenset[str]
    made: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        """Metric names."""
        return frozenset(selector.name for selector in self.selectors)


def read(expr: str) -> Reading:
    """Find series and labels in an expression.

    Args:
        expr: PromQL; may hold Grafana's variables.

    Raises:
        PromqlError: It cannot be cut into tokens, a bracket is not closed, or series are chosen without a name.
    """
    tokens = [*_tokens(expr)]
    closes = _partners(tokens, expr)
    selectors, labels, made = list[Selector](), set[str](), set[str]()
    index = 0
    while index < len(tokens):
        kind, text = tokens[index]
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        index += 1
        if text == "[":
            index = closes[index - 1] + 1
        elif text == "{":
            raise PromqlError(f"Series are chosen by labels alone in `{expr}`. Put the metric's name before the brace.")
        elif kind != "name" or text.lower() in _WORDS:
            continue
        elif text in _WITH_LABELS:
            if following == "(":
                end = closes[index]
                labels.update(word for kind, word in tokens[index:end] if kind == "name")
                index = end + 1
        elif following == "(":
            if text in ("label_replace", "label_join"):
                made.add(_made_label(tokens, index, closes, expr))
        elif following in _WITH_LABELS:
            continue  # an aggregation whose labels come first: sum by (model) (...)
        elif following == "{":
            end = closes[index]
            selectors.append(Selector(text, tuple(word for kind, word in tokens[index:end] if kind == "name")))
            index = end + 1
        else:
            selectors.append(Selector(text))
    return Reading(tuple(selectors), frozenset(labels), frozenset(made))


def _tokens(expr: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None or match.lastgroup is None:
            raise PromqlError(f"`{expr[at : at + 12]}` is not understood in `{expr}`.")
        at = match.end()
        if match.lastgroup != "space":
            yield match.lastgroup, match[0]


def _partners(tokens: list[tuple[str, str]], expr: str) -> dict[int, int]:
    """Place of every opening bracket -> place of the one that closes it."""
    found, opened = dict[int, int](), list[int]()
    for index, (kind, text) in enumerate(tokens):
        if kind == "sign" and text in _OPEN:
            opened.append(index)
        elif kind == "sign" and text in _CLOSE:
            if not opened or _OPEN.index(tokens[opened[-1]][1]) != _CLOSE.index(text):
                raise PromqlError(f"`{text}` closes nothing in `{expr}`.")
            found[opened.pop()] = index
    if opened:
        raise PromqlError(f"A bracket is not closed in `{expr}`.")
    return found


def _made_label(tokens: list[tuple[str, str]], opening: int, closes: dict[int, int], expr: str) -> str:
    """The second argument: the label that is made."""
    index = opening + 1
    while index < closes[opening]:
        index = closes.get(index, index) + 1
        if tokens[index][1] == "," and tokens[index + 1][0] == "string":
            return tokens[index + 1][1][1:-1]
    raise PromqlError(f"{tokens[opening - 1][1]} needs the name of a label in `{expr}`.")
