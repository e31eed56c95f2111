"""The rules of `deploy/prometheus/rules` as typed values, and as the Prometheus operator wants them.

Prometheus alone judges whether they are right (`promtool check rules`, `promtool test rules`); here they are read, so
that tests can hold them to the metrics, dashboards and runbooks they name, and written as a PrometheusRule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from monitoring.durations import DURATION
from runtime.errors import MillisightError

__all__ = [
    "Alert",
    "Annotations",
    "Group",
    "Recording",
    "Rules",
    "RulesError",
    "Severity",
    "check_prometheus_rule",
    "load_rules",
    "parse_rules",
    "prometheus_rule",
]

Severity = Literal["page", "ticket"]

_Duration = Annotated[str, Field(pattern=f"^{DURATION}$")]
_Text = Annotated[str, Field(min_length=1)]

_HEADER = """\
# The rules of deploy/prometheus/rules for the Prometheus operator. Made by `millisight monitor rules`; a test holds it
# to them. An operator picks rules up by label: kube-prometheus-stack, for example, wants `release: <its name>` as well.
"""


class RulesError(MillisightError):
    """A rules file cannot be read, or is not what this project's rules are."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Recording(_Part):
    """A rule that records a series.

    Attributes:
        record: Name of the series, `level:metric:operation`.
        expr: PromQL.
        labels: Added to what the expression gives.
    """

    record: Annotated[str, Field(pattern=r"^[a-z_]+:[a-z_]+:[a-z0-9_]+$")]
    expr: _Text
    labels: dict[str, str] = {}

    @property
    def name(self) -> str:
        """Of the series."""
        return self.record


class Annotations(_Part):
    """What an alert says; texts may hold Prometheus' templates.

    Attributes:
        summary: One line.
        description: A few sentences with the numbers.
        runbook: Path of its page in the repository.
        dashboard: Id of the dashboard to open.
    """

    summary: _Text
    description: _Text
    runbook: Annotated[str, Field(pattern=r"^docs/runbooks/\w+\.md$")]
    dashboard: Annotated[str, Field(pattern=r"^millisight-[a-z]+$")]


class Alert(_Part):
    """A rule that alerts.

    Attributes:
        alert: Its name; several rules may have it.
        expr: PromQL; fires for every series that it gives.
        wait: How long it must hold first; `for` in the file.
        keep_firing_for: How long it goes on when the expression does not hold any more.
        labels: `severity` and maybe more, added to those of the series.
        annotations: What it says.
    """

    alert: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]+$")]
    expr: _Text
    wait: Annotated[_Duration, Field(alias="for")] = "0s"
    keep_firing_for: _Duration = "0s"
    labels: dict[str, str]
    annotations: Annotations

    @property
    def name(self) -> str:
        """Of the alert."""
        return self.alert

    @property
    def severity(self) -> str:
        """Who is told; `page` or `ticket`."""
        return self.labels.get("severity", "")


def _kind(rule: Any) -> str:
    return "alert" if isinstance(rule, Alert) or (isinstance(rule, dict) and "alert" in rule) else "record"


class Group(_Part):
    """Rules that are evaluated one after another, at the same moment.

    Attributes:
        name: Unique among all files.
        interval: Between evaluations; None: as Prometheus is configured.
        rules: In their order.
    """

    name: _Text
    interval: _Duration | None = None
    rules: tuple[
        Annotated[Annotated[Recording, Tag("record")] | Annotated[Alert, Tag("alert")], Discriminator(_kind)], ...
    ]


class _File(_Part):
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Rules:
    """All rules.

    Attributes:
        groups: In the order of the files' names, then as they stand.
    """

    groups: tuple[Group, ...]

    @property
    def all(self) -> tuple[Recording | Alert, ...]:
        """Every rule."""
        return tuple(rule for group in self.groups for rule in group.rules)

    @property
    def records(self) -> tuple[Recording, ...]:
        """Those that record."""
        return tuple(rule for rule in self.all if isinstance(rule, Recording))

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Those that alert; a name may stand there more than once."""
        return tuple(rule for rule in self.all if isinstance(rule, Alert))


def load_rules(folder: Path) -> Rules:
    """Reads all rules files of a folder.

    Args:
        folder: `deploy/prometheus/rules`, as a rule.

    Raises:
        RulesError: There are none, one is not understood, or a name is given twice.
    """
    paths = sorted(folder.glob("*.yml"))
    if not paths:
        raise RulesError(f"{folder} has no rules files (*.yml); name the folder of the repository's rules.")
    groups = [group for path in paths for group in parse_rules(path.read_text(encoding="utf-8"), str(path)).groups]
    found = Rules(tuple(groups))
    for what, names in (("group", [group.name for group in groups]), ("record", [rule.name for rule in found.records])):
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise RulesError(f"{folder}: {what} {', '.join(twice)} is there more than once; give each its own name.")
    return found


def parse_rules(text: str, name: str) -> Rules:
    """Reads one rules file.

    Args:
        text: YAML.
        name: Of the file, for messages.

    Raises:
        RulesError: It is not YAML, or has other fields or values than rules of this project may have.
    """
    try:
        return Rules(_File.model_validate(yaml.safe_load(text)).groups)
    except yaml.YAMLError as error:
        raise RulesError(f"{name} is not YAML: {error}.") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3])
        raise RulesError(f"{name}: {faults}. Mend it; `promtool check rules` says more.") from error


def prometheus_rule(groups: Iterable[Group]) -> str:
    """The rules as a PrometheusRule of the Prometheus operator.

    Args:
        groups: To be in it.

    Returns:
        YAML, the same text for the same rules.
    """
    name = {"app.kubernetes.io/name": "millisight"}
    content = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "millisight", "labels": name},
        "spec": {"groups": [group.model_dump(by_alias=True, exclude_defaults=True) for group in groups]},
    }
    return _HEADER + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110)


def check_prometheus_rule(path: Path, groups: Iterable[Group]) -> None:
    """Compares a manifest with what would be written.

    Args:
        path: Of the manifest.
        groups: See `prometheus_rule`.

    Raises:
        RulesError: It is not there, or differs.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text != prometheus_rule(groups):
        state = "is not what the rules say" if text else "is not there"
        raise RulesError(f"{path} {state}; write it: millisight monitor rules.")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
