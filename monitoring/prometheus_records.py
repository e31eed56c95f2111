"""What Prometheus' HTTP API answers, as typed values, and what can go wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from runtime.errors import MillisightError

__all__ = [
    "ActiveAlert",
    "Groups",
    "PrometheusAnswerError",
    "PrometheusError",
    "PrometheusQueryError",
    "PrometheusUnreachableError",
    "Rule",
    "ScrapeTarget",
    "Series",
    "Targets",
    "parse_series",
    "understood",
]


class PrometheusError(MillisightError):
    """Base class of what can go wrong with Prometheus."""


class PrometheusUnreachableError(PrometheusError):
    """Nobody answers at the address, or not in time."""


class PrometheusQueryError(PrometheusError):
    """Prometheus refused a query.

    Attributes:
        expr: The query.
        kind: Prometheus' word for it, such as `bad_data` or `execution`.
    """

    def __init__(self, expr: str, kind: str, message: str) -> None:
        super().__init__(f"Prometheus refused the query `{expr}`: {message} ({kind}).")
        self.expr = expr
        self.kind = kind


class PrometheusAnswerError(PrometheusError):
    """What answers is not Prometheus' API, or says something that is not understood."""


@dataclass(frozen=True)
class Series:
    """What one series said.

    Attributes:
        labels: Names to values, `__name__` among them where the series has one; empty for a scalar.
        points: (Unix time in seconds, value), ascending; values may be NaN or infinite.
    """

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The latest value."""
        return self.points[-1][1]

    @property
    def finite(self) -> bool:
        """Whether there are points and every value is a number."""
        return bool(self.points) and all(math.isfinite(value) for _, value in self.points)


class _Part(BaseModel):
    # Prometheus adds fields from version to version.
    model_config = ConfigDict(frozen=True, extra="ignore")


class ActiveAlert(_Part):
    """An alert that is pending or firing.

    Attributes:
        labels: Those of the rule and of the series that made it.
        annotations: With values filled in.
        state: Which of the two.
        value: Of the expression.
    """

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    state: Literal["pending", "firing"]
    value: float


class Rule(_Part):
    """A rule as Prometheus holds it.

    Attributes:
        name: Of the series that it records, or of the alert.
        kind: `recording` or `alerting`.
        query: Its expression.
        health: `ok`, `err`, or `unknown` before the first evaluation.
        error: What went wrong, where `health` is `err`.
        state: Of an alert: `inactive`, `pending` or `firing`; empty for a recording rule.
        alerts: Of an alert: those that are pending or firing, with labels and annotations filled in.
    """

    name: str
    kind: Annotated[Literal["recording", "alerting"], Field(alias="type")]
    query: str
    health: Literal["ok", "err", "unknown"]
    error: Annotated[str, Field(alias="lastError")] = ""
    state: str = ""
    alerts: tuple[ActiveAlert, ...] = ()


class ScrapeTarget(_Part):
    """A target that is scraped.

    Attributes:
        labels: After relabelling; `job` and `instance` among them.
        health: `up`, `down`, or `unknown` before the first scrape.
        error: Why the last scrape failed, else empty.
    """

    labels: dict[str, str]
    health: Literal["up", "down", "unknown"]
    error: Annotated[str, Field(alias="lastError")] = ""


class _Group(_Part):
    rules: tuple[Rule, ...]


class Groups(_Part):
    """What `/api/v1/rules` answers."""

    groups: tuple[_Group, ...]


class Targets(_Part):
    """What `/api/v1/targets` answers."""

    active: Annotated[tuple[ScrapeTarget, ...], Field(alias="activeTargets")]


_Point = tuple[float, float]


class _Sample(_Part):
    metric: dict[str, str]
    value: _Point


class _Stream(_Part):
    metric: dict[str, str]
    values: tuple[_Point, ...]


class _Vector(_Part):
    kind: Annotated[Literal["vector"], Field(alias="resultType")]
    result: tuple[_Sample, ...]


class _Matrix(_Part):
    kind: Annotated[Literal["matrix"], Field(alias="resultType")]
    result: tuple[_Stream, ...]


class _Scalar(_Part):
    kind: Annotated[Literal["scalar"], Field(alias="resultType")]
    result: _Point


_RESULT: TypeAdapter[_Vector | _Matrix | _Scalar] = TypeAdapter(
    Annotated[_Vector | _Matrix | _Scalar, Field(discriminator="kind")]
)


def parse_series(data: Any) -> tuple[Series, ...]:
    """The answer of a query.

    Raises:
        PrometheusAnswerError: It is not understood.
    """
    with understood("the query's answer"):
        found = _RESULT.validate_python(data)
    match found:
        case _Vector():
            return tuple(Series(sample.metric, (sample.value,)) for sample in found.result)
        case _Matrix():
            return tuple(Series(stream.metric, stream.values) for stream in found.result)
        case _Scalar():
            return (Series({}, (found.result,)),)


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turns what pydantic does not understand into an error for people."""
    try:
        yield
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3])
        raise PrometheusAnswerError(f"{what}: not understood as Prometheus' API: {faults}.") from error
