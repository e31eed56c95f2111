"""What scales the pods: by metrics that exist, to targets that follow from the slots, and by nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from serving.metrics import families
from serving.settings import Settings
from tests.deploy.kubernetes.manifests import ROOT, Object, Pod, all_of, pick

_SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def per_pod(settings: Settings) -> int:
    """Requests in one pod that are wanted at a time: in each slot one that works and one that waits."""
    return 2 * settings.workers * settings.slots


def adapter_rule() -> Object:
    """The rule for prometheus-adapter."""
    (rule,) = yaml.safe_load((ROOT / "components" / "hpa" / "adapter-rules.yaml").read_text())["rules"]
    return dict(rule)


def scaling_complaints(objects: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    """What is wrong with what scales the pods."""
    gauges = {family.name for family in families() if family.kind == "gauge"}
    scaled = all_of(objects, "ScaledObject")
    autoscalers = all_of(objects, "HorizontalPodAutoscaler")
    if len(scaled) + len(autoscalers) > 1:
        yield "scaling: two of them set the number of pods"
    if (scaled or autoscalers) and "replicas" in pod.owner["spec"]:
        yield "scaling: every apply would set the number of pods back"
    for entry in scaled:
        yield from _scaled(objects, entry, gauges, settings)
    for entry in autoscalers:
        yield from _autoscaler(entry, gauges, settings)
    if pod.knative:
        yield from _knative(pod, settings)


def _scaled(objects: list[Object], entry: Object, gauges: set[str], settings: Settings) -> Iterator[str]:
    spec = entry["spec"]
    if spec["scaleTargetRef"]["name"] != pick(objects, "Deployment")["metadata"]["name"]:
        yield "scaling: there is no such Deployment"
    if not 1 <= spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]:
        # At 0 no pod would say that one is needed.
        yield "scaling: not 1 <= minReplicaCount <= fallback <= maxReplicaCount"
    first = spec["triggers"][0]["metadata"]
    if float(first["threshold"]) != per_pod(settings):
        yield f"scaling: {first['threshold']} requests a pod, slots make it {per_pod(settings)}"
    for trigger in spec["triggers"]:
        metadata = trigger["metadata"]
        if metadata.get("ignoreNullValues") != "false":
            yield "scaling: while Prometheus has no answer, pods would be taken away"
        if not re.match(r"(sum|max)\(", metadata["query"]):
            yield f"scaling: {metadata['query']} may have several elements"
        yield from _query(objects, entry, metadata["query"], gauges)


def _query(objects: list[Object], entry: Object, query: str, gauges: set[str]) -> Iterator[str]:
    selectors = _SELECTOR.findall(query)
    if not selectors:
        yield f"scaling: {query} asks for no metric of one namespace"
    monitor = pick(objects, "ServiceMonitor")
    job = pick(objects, "Service")["metadata"]["labels"].get(monitor["spec"].get("jobLabel"))
    names = [name for name, _ in selectors]
    if len(set(names)) != 1 or not set(names) <= gauges:
        yield f"scaling: {query} adds up {names}, of which the service exports {sorted(gauges & set(names))}"
    for name, labels in selectors:
        wanted = {"namespace": entry["metadata"]["namespace"], "job": job}
        if dict(_LABEL.findall(labels)) != wanted:
            yield f"scaling: {name} is asked for with {labels}, its series have {wanted}"


def _autoscaler(entry: Object, gauges: set[str], settings: Settings) -> Iterator[str]:
    (metric,) = (item["pods"] for item in entry["spec"]["metrics"])
    name = metric["metric"]["name"]
    if name not in gauges:
        yield f"scaling: the service exports no gauge {name}"
    rule = adapter_rule()
    if rule["name"]["as"] != name or not rule["seriesQuery"].startswith(f"{name}{{"):
        yield f"scaling: the adapter hands on no {name}"
    if metric["target"] != {"type": "AverageValue", "averageValue": str(per_pod(settings))}:
        yield f"scaling: {metric['target']} a pod, slots make it {per_pod(settings)}"


def _knative(pod: Pod, settings: Settings) -> Iterator[str]:
    limit, slots = pod.spec["containerConcurrency"], settings.workers * settings.slots
    if not slots < limit <= 4 * slots or limit > settings.queue:
        yield f"scaling: containerConcurrency {limit} is not the slots ({slots}) and a short queue"
    if pod.spec["scaleTarget"] != per_pod(settings) or pod.spec["scaleMetric"] != "concurrency":
        yield f"scaling: {pod.spec['scaleTarget']} requests a pod, slots make it {per_pod(settings)}"
