"""A small typed client of Prometheus' HTTP API: what a query gives now, over a time, and how rules and targets are."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import TypeAdapter

from monitoring.prometheus_records import (
    ActiveAlert,
    Groups,
    PrometheusAnswerError,
    PrometheusError,
    PrometheusQueryError,
    PrometheusUnreachableError,
    Rule,
    ScrapeTarget,
    Series,
    Targets,
    parse_series,
    understood,
)

__all__ = [
    "ActiveAlert",
    "PrometheusAnswerError",
    "PrometheusClient",
    "PrometheusError",
    "PrometheusQueryError",
    "PrometheusUnreachableError",
    "Rule",
    "ScrapeTarget",
    "Series",
]

_TIMEOUT_S = 30.0
# What Prometheus itself allows of one series in a range query.
_MOST_POINTS = 11_000


class PrometheusClient:
    """Asks one Prometheus. A context manager; not for several threads at a time.

    Args:
        url: Address, such as `http://127.0.0.1:9090`.
        timeout_s: Longest time for one answer, seconds.
    """

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        # Its address is given: proxies of the environment are for others.
        self._client = httpx.Client(timeout=timeout_s, trust_env=False)

    def __enter__(self) -> PrometheusClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def instant(self, expr: str, at: float | None = None) -> tuple[Series, ...]:
        """What a query gives at a moment.

        Args:
            expr: PromQL that gives a vector or a scalar.
            at: Unix time in seconds; None: now.

        Raises:
            PrometheusQueryError: The query is wrong.
            PrometheusError: No answer, or none that is understood.
        """
        parameters = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        return parse_series(self._data("/api/v1/query", parameters, expr))

    def range(self, expr: str, start: float, end: float, step_s: float) -> tuple[Series, ...]:
        """What a query gives over a time.

        Args:
            expr: PromQL that gives a vector or a scalar.
            start: Unix time in seconds.
            end: Unix time in seconds, not before `start`.
            step_s: Seconds between two points, above 0; at most 11,000 steps.

        Raises:
            ValueError: The range is none.
            PrometheusQueryError: The query is wrong.
            PrometheusError: No answer, or none that is understood.
        """
        if not step_s > 0 or end < start or (end - start) / step_s > _MOST_POINTS:
            raise ValueError(f"no range: {start} to {end} in steps of {step_s} s (at most {_MOST_POINTS} steps)")
        parameters = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:.3f}"}
        return parse_series(self._data("/api/v1/query_range", parameters, expr))

    def label_values(self, label: str, selector: str = "", since: float | None = None) -> tuple[str, ...]:
        """Values that a label has, sorted.

        Args:
            label: Its name.
            selector: Of the series that are asked, such as `restore_model_info{task="denoise"}`; empty: all.
            since: Only series with points after this Unix time in seconds.

        Raises:
            PrometheusError: No answer, or none that is understood.
        """
        parameters = ({"match[]": selector} if selector else {}) | ({} if since is None else {"start": f"{since:.3f}"})
        data = self._data(f"/api/v1/label/{label}/values", parameters, selector or label)
        with understood(self.url):
            return tuple(sorted(TypeAdapter(tuple[str, ...]).validate_python(data)))

    def rules(self) -> tuple[Rule, ...]:
        """Every rule of every group.

        Raises:
            PrometheusError: No answer, or none that is understood.
        """
        data = self._data("/api/v1/rules", {}, "")
        with understood(self.url):
            return tuple(rule for group in Groups.model_validate(data).groups for rule in group.rules)

    def targets(self) -> tuple[ScrapeTarget, ...]:
        """What is scraped, and whether that works.

        Raises:
            PrometheusError: No answer, or none that is understood.
        """
        data = self._data("/api/v1/targets", {"state": "active"}, "")
        with understood(self.url):
            return Targets.model_validate(data).active

    def _data(self, path: str, parameters: dict[str, str], expr: str) -> Any:
        try:
            # POST where a query may be too long for an address.
            if "query" in parameters:
                answer = self._client.post(self.url + path, data=parameters)
            else:
                answer = self._client.get(self.url + path, params=parameters)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PrometheusUnreachableError(
                f"No answer from Prometheus at {self.url}: {error or type(error).__name__}. Is it running there?"
            ) from error
        try:
            content = answer.json()
        except ValueError as error:
            raise PrometheusAnswerError(
                f"{self.url}{path} answered {answer.status_code} and no JSON: is that address Prometheus?"
            ) from error
        match content:
            case {"status": "success", "data": data}:
                return data
            case {"status": "error", "errorType": str(kind), "error": str(message)} if expr:
                raise PrometheusQueryError(expr, kind, message)
        raise PrometheusAnswerError(
            f"{self.url}{path} answered {answer.status_code}, not as Prometheus does: {answer.text[:200]}"
        )
