"""The client of Prometheus' API, against a real Prometheus with known points."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from monitoring.prometheus import (
    PrometheusAnswerError,
    PrometheusClient,
    PrometheusQueryError,
    PrometheusUnreachableError,
)
from tests.monitoring.programs import needs, open_metrics, running_prometheus
from tests.servers import free_port

# Far enough from now that nothing of today gets in.
START = 1_700_000_000
MODELS = {
    'task="denoise",model="a"': {START + 10.0 * step: step for step in range(13)},
    'task="derain",model="b"': {START + 10.0 * step: 2 * step for step in range(13)},
}
CONFIG = """
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
"""
RULES = """
groups:
  - name: known
    rules:
      - {record: "known:one", expr: "vector(1)"}
      - {alert: Always, expr: "vector(3) > 2", annotations: {summary: "is {{ $value }}"}}
      - {alert: Never, expr: "vector(3) > 4"}
"""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusClient]:
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "rules.yml").write_text(RULES)
    points = open_metrics("gauge", "known", MODELS) + "# EOF\n"
    with running_prometheus(folder, CONFIG, points) as program, PrometheusClient(program.url) as client:
        yield client


@needs("prometheus", "promtool")
class TestRealPrometheus:
    def test_an_instant_query_has_labels_and_values(self, prometheus: PrometheusClient) -> None:
        series = {s.labels["task"]: s for s in prometheus.instant("known", START + 45)}
        assert {task: s.last for task, s in series.items()} == {"denoise": 4, "derain": 8}
        assert series["denoise"].labels == {"__name__": "known", "task": "denoise", "model": "a"}
        assert all(s.finite for s in series.values())

    def test_a_range_query_has_the_points_of_its_range(self, prometheus: PrometheusClient) -> None:
        (series,) = prometheus.range('known{task="derain"}', START + 20, START + 60, 20)
        assert series.points == ((START + 20, 4), (START + 40, 8), (START + 60, 12))

    def test_nothing_is_no_error_and_a_scalar_is_a_series(self, prometheus: PrometheusClient) -> None:
        assert prometheus.instant("absent_from_here") == ()
        (scalar,) = prometheus.instant("scalar(vector(7))")
        assert (scalar.labels, scalar.last) == ({}, 7)

    @pytest.mark.parametrize(("expr", "check"), [("0/0", math.isnan), ("1/0", math.isinf), ("-1/0", math.isinf)])
    def test_what_is_no_number_is_seen(self, prometheus: PrometheusClient, expr: str, check: object) -> None:
        (series,) = prometheus.instant(f"vector({expr})")
        assert callable(check)
        assert check(series.last)
        assert not series.finite

    def test_a_wrong_query_is_named(self, prometheus: PrometheusClient) -> None:
        with pytest.raises(PrometheusQueryError, match=r"rate\(known.*bad_data") as caught:
            prometheus.instant("rate(known")
        assert (caught.value.expr, caught.value.kind) == ("rate(known", "bad_data")

    def test_a_range_of_no_length_is_refused_here(self, prometheus: PrometheusClient) -> None:
        with pytest.raises(ValueError, match="no range"):
            prometheus.range("known", START, START + 60, 0)
        with pytest.raises(ValueError, match="11000 steps"):
            prometheus.range("known", START, START + 60, 0.001)

    def test_values_of_a_label_are_those_of_the_selected_series(self, prometheus: PrometheusClient) -> None:
        assert prometheus.label_values("model", "known", START) == ("a", "b")
        assert prometheus.label_values("model", 'known{task="derain"}', START) == ("b",)
        assert prometheus.label_values("model", "known", START + 10 * 86_400) == ()

    def test_rules_say_how_they_are(self, prometheus: PrometheusClient) -> None:
        rules = {rule.name: rule for rule in prometheus.rules()}
        while any(rule.health == "unknown" for rule in rules.values()):
            rules = {rule.name: rule for rule in prometheus.rules()}
        kinds = {name: rule.kind for name, rule in rules.items()}
        assert kinds == {"known:one": "recording", "Always": "alerting", "Never": "alerting"}
        assert {rule.health for rule in rules.values()} == {"ok"}
        (alert,) = rules["Always"].alerts
        assert (rules["Always"].state, alert.state, alert.annotations["summary"]) == ("firing", "firing", "is 3")
        assert (rules["Never"].state, rules["Never"].alerts) == ("inactive", ())


def test_nobody_there_is_said() -> None:
    with PrometheusClient(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(PrometheusUnreachableError):
        client.instant("up")


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"status":"success","data":{"resultType":"pie"}}'])
def test_another_server_is_not_taken_for_prometheus(body: bytes) -> None:
    class Other(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        threading.Thread(target=other.handle_request).start()
        with (
            PrometheusClient(f"http://127.0.0.1:{other.server_port}") as client,
            pytest.raises(PrometheusAnswerError),
        ):
            client.instant("up")
