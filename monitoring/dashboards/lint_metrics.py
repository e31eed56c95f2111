"""Whether what dashboards and rules ask for is what the code exports, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from monitoring.dashboards.lint import Finding, panels_of
from monitoring.dashboards.promql import PromqlError, Reading, Selector, read

__all__ = ["Asked", "Exported", "asked_by_dashboard", "lint_metrics"]

_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+),\s*(?P<label>\w+)\)")
# Every series gets these from the scrape.
_SCRAPE = frozenset({"instance", "job"})
# Made by Prometheus itself; what labels alerts have is the rules' business.
_OWN = frozenset({"up", "ALERTS", "ALERTS_FOR_STATE"})
_SUFFIXES = ("_bucket", "_sum", "_count")


class Exported(Protocol):
    """A metric family as the service and the runs list them."""

    @property
    def name(self) -> str:
        """As it is exposed, of a histogram without suffix."""

    @property
    def kind(self) -> str:
        """`counter`, `gauge` or `histogram`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its labels."""


@dataclass(frozen=True)
class Asked:
    """An expression that somebody asks.

    Attributes:
        dashboard: Title, or the name of a rule's file.
        panel: Title, or the name of the rule.
        expr: PromQL; may hold Grafana's variables.
        legend: Name of its series, with `{{label}}`.
        records: Name of the series that it records, of a recording rule.
    """

    dashboard: str
    panel: str
    expr: str
    legend: str = ""
    records: str = ""


def asked_by_dashboard(content: Mapping[str, Any]) -> Iterator[Asked]:
    """Every expression of a dashboard: of panels, annotations and variables.

    Args:
        content: Its JSON, parsed.
    """
    name = str(content.get("title", ""))
    for panel in panels_of(content):
        for target in panel.get("targets", ()):
            yield Asked(name, str(panel.get("title", "")), target["expr"], target.get("legendFormat", ""))
    for annotation in content.get("annotations", {}).get("list", ()):
        yield Asked(name, f"annotation {annotation['name']}", annotation["expr"])
    for variable in content.get("templating", {}).get("list", ()):
        query = variable.get("query", "")
        text = query.get("query", "") if isinstance(query, Mapping) else query
        if match := _LABEL_VALUES.fullmatch(text):
            yield Asked(name, f"variable {variable['name']}", f"count by ({match['label']}) ({match['series']})")


def lint_metrics(asked: Iterable[Asked], families: Iterable[Exported], raw: Mapping[str, str]) -> tuple[Finding, ...]:
    """Find metrics that nobody exports, that nobody asks for, and labels that they do not have.

    Args:
        asked: All expressions of dashboards and rules.
        families: All that code exports.
        raw: Families that nothing needs to ask for, and why.
    """
    asked, known = tuple(asked), {family.name: family for family in families}
    recorded = {one.records for one in asked if one.records}
    found, used = list[Finding](), set[str]()
    for one in asked:
        try:
            reading = read(one.expr)
        except PromqlError as error:
            found.append(Finding(one.dashboard, one.panel, str(error)))
            continue
        used |= {_family(name, known) or name for name in reading.names}
        found += (Finding(one.dashboard, one.panel, text) for text in _faults(one, reading, known, recorded))
    for name in sorted(known.keys() - used - raw.keys()):
        found.append(Finding("", "", f"{name} is exported, and no panel and no rule asks for it"))
    for name in sorted(raw):
        if name not in known or name in used or not raw[name]:
            fault = "not exported" if name not in known else "asked for" if name in used else "without a reason"
            found.append(Finding("", "", f"{name} is listed as raw and is {fault}"))
    for name in sorted(recorded - used):
        found.append(Finding("", "", f"{name} is recorded, and no panel and no rule asks for it"))
    return tuple(found)


def _family(series: str, known: Mapping[str, Exported]) -> str | None:
    """The family that a series belongs to; None if it belongs to none."""
    if series in known:
        return series if known[series].kind != "histogram" else None
    for suffix in _SUFFIXES:
        base = series.removesuffix(suffix)
        if base != series and base in known and known[base].kind == "histogram":
            return base
    return None


def _faults(one: Asked, reading: Reading, known: Mapping[str, Exported], recorded: set[str]) -> Iterator[str]:
    possible, open_ended = set(_SCRAPE | reading.made), False
    for selector in reading.selectors:
        labels = _labels(selector, known, recorded)
        if labels is None:
            open_ended = True
            if selector.name not in _OWN:
                yield f"{selector.name} is neither exported nor recorded"
            continue
        possible |= labels
        for label in selector.labels:
            if label not in labels | _SCRAPE:
                yield f"{selector.name} has no label {label}"
    if open_ended:
        return
    for label in sorted((reading.labels | {*_LEGEND.findall(one.legend)}) - possible):
        yield f"nothing in `{one.expr}` has a label {label}"


def _labels(selector: Selector, known: Mapping[str, Exported], recorded: set[str]) -> frozenset[str] | None:
    """Labels that a series may have; None where that is not known."""
    if selector.name in recorded:
        # level:metric:operation; the level is what it is added up to.
        level = selector.name.partition(":")[0]
        return frozenset() if level == "slo" else frozenset(level.split("_"))
    family = _family(selector.name, known)
    if family is None:
        return None
    bucket = {"le"} if selector.name.endswith("_bucket") else set[str]()
    return frozenset(known[family].labels) | bucket
