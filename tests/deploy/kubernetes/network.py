"""Labels, selectors and network policies: who finds whom, and who may call whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from serving.settings import Settings
from tests.deploy.kubernetes import image
from tests.deploy.kubernetes.manifests import Object, Pod, all_of, pick

# Of Knative's container in the pod: requests, with TLS, draining, numbers (knative/serving, pkg/networking).
KNATIVE_PORTS = {8012, 8112, 8022, 9090}
REDIS_PORT, NAMES_PORT = 6379, 53


def network_complaints(objects: list[Object], pod: Pod, _: Settings) -> Iterator[str]:
    """What is wrong with selectors and policies."""
    yield from _selectors(objects, pod)
    yield from _namespaces(objects)
    yield from _policies(objects, pod)


def _matches(selector: Mapping[str, Mapping[str, str]], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    return bool(wanted) and wanted.items() <= labels.items()


def _selectors(objects: list[Object], pod: Pod) -> Iterator[str]:
    for budget in all_of(objects, "PodDisruptionBudget"):
        if not _matches(budget["spec"]["selector"], pod.labels):
            yield "selectors: the PodDisruptionBudget guards no pod"
        if "minAvailable" in budget["spec"]:
            yield "selectors: with one pod left, minAvailable keeps its node from being drained"
    for service in all_of(objects, "Service"):
        if not service["spec"]["selector"].items() <= pod.labels.items():
            yield "selectors: the Service finds no pod"
    for spread in pod.spec.get("topologySpreadConstraints", []):
        if not _matches(spread["labelSelector"], pod.labels):
            yield f"selectors: the spread over {spread['topologyKey']} counts no pod"
    if not pod.knative:
        keys = {spread["topologyKey"] for spread in pod.spec.get("topologySpreadConstraints", [])}
        if keys != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"selectors: pods are spread over {sorted(keys)}"
        if not _matches(pod.owner["spec"]["selector"], pod.labels):
            yield "selectors: the Deployment does not find its own pods"
    for monitor in all_of(objects, "ServiceMonitor"):
        service = pick(objects, "Service")
        if not _matches(monitor["spec"]["selector"], service["metadata"]["labels"]):
            yield "selectors: the ServiceMonitor finds no Service"
        for endpoint in monitor["spec"]["endpoints"]:
            if endpoint.get("path") != "/metrics":
                yield f"selectors: the ServiceMonitor asks {endpoint.get('path')}"
            if endpoint.get("port") not in {entry["name"] for entry in service["spec"]["ports"]}:
                yield f"selectors: the Service has no port {endpoint.get('port')}"


def _namespaces(objects: list[Object]) -> Iterator[str]:
    (namespace,) = (entry["metadata"]["name"] for entry in all_of(objects, "Namespace"))
    for entry in objects:
        if entry["kind"] != "Namespace" and entry["metadata"].get("namespace") != namespace:
            yield f"namespaces: {entry['kind']} {entry['metadata']['name']} is not in {namespace}"


def _policies(objects: list[Object], pod: Pod) -> Iterator[str]:
    own = [
        policy["spec"]
        for policy in all_of(objects, "NetworkPolicy")
        if _matches(policy["spec"]["podSelector"], pod.labels)
    ]
    for kind in ("Ingress", "Egress"):
        if not any(kind in policy["policyTypes"] for policy in own):
            yield f"network: no policy limits {kind}"
    ports = KNATIVE_PORTS if pod.knative else {image.port("cpu")}
    for policy in own:
        for rule in policy.get("ingress", []):
            if not rule.get("from"):
                yield "network: anybody may call"
            if {entry["port"] for entry in rule.get("ports", [])} != ports:
                yield f"network: ports {rule.get('ports')} may be called, not {sorted(ports)}"
    outward = {
        entry["port"]
        for policy in own
        for rule in policy.get("egress", [])
        for entry in rule.get("ports", [{"port": "any"}])
    }
    named = {entry["name"] for entry in pod.container.get("env", [])}
    wanted = {REDIS_PORT, NAMES_PORT} if "MILLISIGHT_JOBS" in named else set()
    if outward != wanted:
        yield f"network: the pod may call ports {sorted(map(str, outward))}, it needs {sorted(wanted)}"
    if all_of(objects, "ServiceMonitor") and not any(_lets_in(policy, "monitoring") for policy in own):
        yield "network: Prometheus may not scrape the pods"


def _lets_in(policy: Object, namespace: str) -> bool:
    return any(
        source.get("namespaceSelector", {}).get("matchLabels") == {"kubernetes.io/metadata.name": namespace}
        for rule in policy.get("ingress", [])
        for source in rule.get("from", [])
    )
