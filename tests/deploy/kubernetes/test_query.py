"""What KEDA and the autoscaler ask Prometheus, asked of a real one that scrapes two real servers with work in them."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest

from tests.deploy.kubernetes.manifests import REPOSITORY, overlay, pick
from tests.deploy.kubernetes.scaling import adapter_rule
from tests.monitoring.programs import needs, running_prometheus
from tests.servers import Server, picture_file, running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), needs("prometheus")]

# As the ServiceMonitor's targets have them.
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: millisight
    static_configs:
      - {{targets: ["{0}"], labels: {{namespace: millisight, pod: millisight-a}}}}
      - {{targets: ["{1}"], labels: {{namespace: millisight, pod: millisight-b}}}}
  - job_name: another
    static_configs:
      - {{targets: ["{1}"], labels: {{namespace: millisight, pod: other}}}}
"""
PATIENCE_S = 60
# In the first pod one is worked on and two wait, in the second one is worked on.
IN_FIRST, IN_SECOND = 3, 1


@dataclass
class Cluster:
    prometheus: str
    servers: tuple[Server, Server]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The elements of the answer to an instant query, as KEDA's scaler reads them."""
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}, trust_env=False).json()
        assert answer["status"] == "success", answer
        return list(answer["data"]["result"])

    def values(self, query: str) -> list[float]:
        return [float(element["value"][1]) for element in self.ask(query)]


def eventually(wanted: object, look: Callable[[], object]) -> None:
    """Waits until what is looked at is as wanted; samples and scrapes are a second old."""
    limit = time.monotonic() + PATIENCE_S
    while (seen := look()) != wanted:
        assert time.monotonic() < limit, f"{seen}, not {wanted}"
        time.sleep(0.3)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        folders = [tmp_path_factory.mktemp(name) for name in ("a", "b", "prometheus")]
        roots = (REPOSITORY / "zoo" / "denoise",)
        first, second = (
            stack.enter_context(running_server(folder, roots, MILLISIGHT_SLOTS="1")) for folder in folders[:2]
        )
        config = CONFIG.format(*(server.url.removeprefix("http://") for server in (first, second)))
        prometheus = stack.enter_context(running_prometheus(folders[2], config))
        body = picture_file(np.zeros((4000, 6000, 3), np.uint8), compress_level=1)
        # Half a minute of work for each: they are there until their clients hang up.
        for server in [first] * IN_FIRST + [second] * IN_SECOND:
            connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
            stack.callback(connection.close)
            headers = {"Content-Type": "image/png", "X-Deadline-Ms": "3600000"}
            connection.request("POST", "/v1/denoise", body, headers)
        yield Cluster(prometheus.url, (first, second))


def test_the_query_of_keda_is_one_element_the_requests_of_all_pods(cluster: Cluster) -> None:
    (trigger,) = pick(overlay("keda"), "ScaledObject")["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    eventually([IN_FIRST + IN_SECOND], lambda: cluster.values(query))
    # Requests that wait are in flight too: with the queue's depth they would count twice.
    eventually([IN_FIRST - 1], lambda: cluster.values('sum(restore_queue_depth{job="millisight"})'))
    # Where nothing is scraped there is no element, which ignoreNullValues "false" makes an error, not zero requests.
    assert cluster.ask(query.replace('namespace="millisight"', 'namespace="elsewhere"')) == []
    # Without its selector and its sum it is what KEDA refuses: several elements, and those of other jobs.
    assert len(cluster.ask("restore_requests_in_flight")) == 3


def test_the_rule_of_the_adapter_gives_each_pod_its_own_requests(cluster: Cluster) -> None:
    rule = adapter_rule()
    assert cluster.ask(rule["seriesQuery"])
    assert re.fullmatch(rule["name"]["matches"], "restore_requests_in_flight")
    labels = {resource["resource"]: label for label, resource in rule["resources"]["overrides"].items()}
    # As the adapter fills its template for the pods of an autoscaler.
    query = (
        rule["metricsQuery"]
        .replace("<<.Series>>", "restore_requests_in_flight")
        .replace(
            "<<.LabelMatchers>>", f'{labels["namespace"]}="millisight",{labels["pod"]}=~"millisight-a|millisight-b"'
        )
        .replace("<<.GroupBy>>", labels["pod"])
    )
    wanted = {"millisight-a": float(IN_FIRST), "millisight-b": float(IN_SECOND)}
    eventually(wanted, lambda: {each["metric"]["pod"]: float(each["value"][1]) for each in cluster.ask(query)})


def test_the_files_of_jobs_that_wait_are_one_element_too(cluster: Cluster) -> None:
    """With jobs, as components/redis-jobs switches them on; all pods would see the same store, hence no sum."""
    triggers = pick(overlay("keda", ["redis-jobs"]), "ScaledObject")["spec"]["triggers"]
    query = triggers[1]["metadata"]["query"]
    assert "restore_job_files_waiting" in query
    eventually([0.0], lambda: cluster.values(query))
