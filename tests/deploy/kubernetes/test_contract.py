"""The manifests say what the code does; and would be found out if they did not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millisight.resources import patch, read_settings
from runtime import find_bundles
from serving.errors import SettingsError
from serving.footprint import footprint
from serving.settings import Settings
from tests.deploy.kubernetes import checks
from tests.deploy.kubernetes.manifests import OVERLAYS, REPOSITORY, ROOT, Object, all_of, overlay, pick, pod_of

Change = Callable[[list[Object]], object]


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_says_what_the_code_does(name: str) -> None:
    assert checks.complaints(overlay(name)) == []


@pytest.mark.parametrize("name", ["cpu", "gpu", "kserve"])
def test_the_committed_resources_are_those_of_the_zoo(name: str) -> None:
    files = [ROOT / "base" / "settings.env", ROOT / "overlays" / name / "settings.env"]
    found = footprint(find_bundles([REPOSITORY / "zoo"]), read_settings(files))
    kind = "inference-service" if name == "kserve" else "deployment"
    assert (ROOT / "overlays" / name / "resources.yaml").read_text() == patch(found, kind)


def test_a_service_of_this_name_would_keep_the_pods_from_starting() -> None:
    """Why `enableServiceLinks` is off: Kubernetes tells pods of every Service with variables made of its name."""
    service = pick(overlay("cpu"), "Service")
    prefix = service["metadata"]["name"].upper().replace("-", "_")
    port = service["spec"]["ports"][0]["port"]
    with pytest.raises(SettingsError, match="Unknown setting MILLISIGHT_PORT"):
        Settings.from_environment({f"{prefix}_SERVICE_HOST": "10.0.0.1", f"{prefix}_PORT": f"tcp://10.0.0.1:{port}"})


def container(objects: list[Object]) -> Object:
    return pod_of(objects).container


def settings(objects: list[Object]) -> dict[str, str]:
    name = container(objects)["envFrom"][0]["configMapRef"]["name"]
    return pick(objects, "ConfigMap", name)["data"]  # type: ignore[no-any-return]


def trigger(objects: list[Object]) -> Object:
    return pick(objects, "ScaledObject")["spec"]["triggers"][0]["metadata"]  # type: ignore[no-any-return]


def gauge(name: str, namespace: str = "millisight") -> str:
    return f'sum({name}{{namespace="{namespace}",job="millisight"}})'


FAULTS: list[tuple[str, Change, str]] = [
    ("cpu", lambda o: settings(o).update(MILLISIGHT_SLOT="2"), "Unknown setting MILLISIGHT_SLOT"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_SLOTS="no"), "MILLISIGHT_SLOTS='no'"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_WORKERS="2"), "2 workers a pod"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_JOBS="sqlite"), "jobs in SQLite"),
    ("cpu", lambda o: container(o)["envFrom"][0]["configMapRef"].update(name="millisight"), "the ConfigMap that"),
    ("cpu", lambda o: pod_of(o).spec.pop("enableServiceLinks"), "enableServiceLinks is on"),
    ("cpu", lambda o: container(o)["ports"][0].update(containerPort=8080), "the image exposes 3000"),
    ("cpu", lambda o: pick(o, "Service")["spec"]["ports"][0].update(targetPort="web"), "the Service sends to web"),
    ("cpu", lambda o: container(o)["livenessProbe"]["httpGet"].update(path="/readyz"), "livenessProbe asks /readyz"),
    ("cpu", lambda o: container(o)["readinessProbe"]["httpGet"].update(port=80), "readinessProbe asks 80"),
    ("cpu", lambda o: container(o).pop("startupProbe"), "no startupProbe"),
    ("cpu", lambda o: container(o)["startupProbe"].update(failureThreshold=3), "to start"),
    ("cpu", lambda o: container(o).pop("lifecycle"), "preStop"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_REQUEST_TIMEOUT="300"), "terminationGracePeriodSeconds"),
    ("cpu", lambda o: pod_of(o).spec["securityContext"].update(runAsUser=1000), "runAsUser of millisight is 1000"),
    ("cpu", lambda o: container(o)["securityContext"].pop("readOnlyRootFilesystem"), "readOnlyRootFilesystem"),
    ("cpu", lambda o: container(o)["securityContext"].update(capabilities={"drop": ["NET_RAW"]}), "capabilities"),
    ("cpu", lambda o: pick(o, "ServiceAccount").pop("automountServiceAccountToken"), "a token of Kubernetes"),
    ("cpu", lambda o: container(o)["volumeMounts"].pop(0), "/tmp/bentoml is written to"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_STATE="/srv"), "/srv is written to"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_BUNDLES="/models"), "/models is read, and nothing is there"),
    ("cpu", lambda o: pod_of(o).spec["volumes"][0].update(emptyDir={}), "may fill the node's disk"),
    ("cpu", lambda o: container(o).update(image="millisight:gpu"), "image: millisight:gpu, not millisight:latest"),
    ("cpu", lambda o: container(o)["resources"]["limits"].update(memory="2Gi"), "Mi to 2Gi, bundles and settings"),
    ("cpu", lambda o: container(o)["resources"]["requests"].update(cpu="1"), "cpu is 1 to 2"),
    ("cpu", lambda o: settings(o).update(MILLISIGHT_SLOTS="2"), "bundles and settings need"),
    ("cpu", lambda o: pick(o, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(a="b"), "guards no pod"),
    ("cpu", lambda o: pod_of(o).spec["topologySpreadConstraints"].pop(), "pods are spread over"),
    ("cpu", lambda o: pick(o, "Service")["spec"]["selector"].update(a="b"), "the Service finds no pod"),
    ("cpu", lambda o: o.remove(pick(o, "NetworkPolicy")), "no policy limits Egress"),
    ("cpu", lambda o: pick(o, "NetworkPolicy")["spec"].update(egress=[{}]), "the pod may call ports ['any']"),
    ("cpu", lambda o: pick(o, "NetworkPolicy")["spec"]["ingress"][0].pop("from"), "anybody may call"),
    ("cpu", lambda o: pick(o, "Service")["metadata"].pop("namespace"), "Service millisight is not in millisight"),
    ("gpu", lambda o: container(o)["resources"]["limits"].pop("nvidia.com/gpu"), "None GPUs for the target cuda"),
    ("gpu", lambda o: settings(o).update(MILLISIGHT_TARGET="cuda-tensorrt-fp32"), "it has no tensorrt"),
    ("gpu", lambda o: settings(o).update(MILLISIGHT_TARGET="auto"), "image: millisight:gpu"),
    ("keda", lambda o: trigger(o).update(threshold="8"), "8 requests a pod, slots make it 2"),
    ("keda", lambda o: trigger(o).update(query=gauge("restore_in_flight")), "of which the service exports []"),
    ("keda", lambda o: trigger(o).update(query="restore_requests_in_flight"), "may have several elements"),
    ("keda", lambda o: trigger(o).update(query=gauge("restore_requests_in_flight", "x")), 'namespace="x"'),
    (
        "keda",
        lambda o: trigger(o).update(query=gauge("restore_requests_in_flight") + "+" + gauge("restore_queue_depth")),
        "adds up ['restore_requests_in_flight', 'restore_queue_depth']",
    ),
    ("keda", lambda o: trigger(o).pop("ignoreNullValues"), "pods would be taken away"),
    ("keda", lambda o: pick(o, "ScaledObject")["spec"].update(minReplicaCount=0), "not 1 <= minReplicaCount"),
    ("keda", lambda o: pick(o, "Deployment")["spec"].update(replicas=2), "every apply would set"),
    ("keda", lambda o: o.remove(pick(o, "NetworkPolicy", "millisight-metrics")), "Prometheus may not scrape"),
    ("keda", lambda o: pick(o, "ServiceMonitor")["spec"].update(jobLabel="app"), "its series have"),
    ("keda", lambda o: pick(o, "ServiceMonitor")["spec"]["endpoints"][0].update(port="web"), "has no port web"),
    ("kserve", lambda o: pod_of(o).spec.update(containerConcurrency=100), "containerConcurrency 100"),
    ("kserve", lambda o: pod_of(o).spec.update(containerConcurrency=1), "containerConcurrency 1"),
    ("kserve", lambda o: pod_of(o).spec.update(timeout=60), "Knative ends requests after 60 s"),
    ("kserve", lambda o: container(o)["securityContext"].pop("runAsUser"), "runAsUser of kserve-container"),
    ("kserve", lambda o: all_of(o, "NetworkPolicy")[0]["spec"]["podSelector"].clear(), "no policy limits Egress"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "expected"), FAULTS, ids=[f"{fault[0]}-{fault[2][:40]}" for fault in FAULTS]
)
def test_a_fault_is_found(name: str, change: Change, expected: str) -> None:
    objects = overlay(name)
    change(objects)
    assert any(expected in complaint for complaint in checks.complaints(objects)), checks.complaints(objects)
