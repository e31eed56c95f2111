"""What kustomize makes is valid: Kubernetes' own kinds by its schemas, the others by those beside the manifests."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.deploy.kubernetes import checks
from tests.deploy.kubernetes.manifests import (
    COMPONENTS,
    FITTING,
    OVERLAYS,
    REPOSITORY,
    ROOT,
    Object,
    all_of,
    build,
    overlay,
    pick,
    pod_of,
    schema,
)

# The oldest release that is asked to take them, and the newest that the validator knows.
RELEASES = ("1.30.0", kubernetes_validate.latest_version())
OWN = {
    "ScaledObject": "scaledobject",
    "ServiceMonitor": "servicemonitor",
    "PrometheusRule": "prometheusrule",
    "InferenceService": "inferenceservice",
}


def mistakes(entry: Object) -> list[str]:
    """What is not valid about one object."""
    if entry["kind"] in OWN:
        found = Draft202012Validator(schema(OWN[entry["kind"]])).iter_errors(entry)
        return [f"{error.json_path}: {error.message}" for error in found]
    errors = []
    for release in RELEASES:
        try:
            kubernetes_validate.validate(entry, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            errors.append(f"{release}: {error.message}")
    return errors


def assert_valid(objects: list[Object]) -> None:
    found = {f"{entry['kind']} {entry['metadata']['name']}": mistakes(entry) for entry in objects}
    assert {name: errors for name, errors in found.items() if errors} == {}


def test_the_base_is_valid() -> None:
    assert_valid(build(ROOT / "base"))


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_valid(name: str) -> None:
    assert_valid(overlay(name))


def test_the_dashboards_are_config_maps_for_the_sidecar() -> None:
    objects = build(REPOSITORY / "deploy" / "grafana")
    assert_valid(objects)
    files = {path.name: path.read_text() for path in (REPOSITORY / "deploy" / "grafana" / "dashboards").glob("*.json")}
    held = [text for entry in objects for text in entry["data"].values()]
    assert sorted(held) == sorted(files.values())
    for entry in objects:
        assert entry["metadata"]["labels"]["grafana_dashboard"] == "1"
        # Beyond 256 KiB `kubectl apply` without --server-side has no room to remember it.
        assert sum(map(len, entry["data"].values())) < 2**18


def test_the_rule_for_the_adapter_is_valid() -> None:
    rules = yaml.safe_load((ROOT / "components" / "hpa" / "adapter-rules.yaml").read_text())
    Draft202012Validator(schema("adapter-rules")).validate(rules)


def sets(name: str) -> list[tuple[str, ...]]:
    """All sets of components that fit onto an overlay."""
    fitting = FITTING[name]
    return [chosen for size in range(len(fitting) + 1) for chosen in itertools.combinations(fitting, size)]


def wrong_together(name: str, components: tuple[str, ...]) -> list[str]:
    """What is wrong with an overlay and components; that faults are found, `test_contract.py` shows."""
    objects = overlay(name, components)
    assert_valid(objects)
    return checks.complaints(objects)


@pytest.mark.parametrize(("name", "components"), [(name, FITTING[name]) for name in ("cpu", "gpu", "keda")])
def test_all_components_together_on_an_overlay(name: str, components: tuple[str, ...]) -> None:
    assert wrong_together(name, components) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_set_of_components_on_an_overlay(name: str) -> None:
    assert {chosen: wrong for chosen in sets(name) if (wrong := wrong_together(name, chosen))} == {}


def test_components_do_what_they_say() -> None:
    objects = overlay("cpu", COMPONENTS)
    pod = pod_of(objects)
    assert pod.variables["MILLISIGHT_BUNDLES"] == "/models"
    assert pod.variables["MILLISIGHT_API_KEYS"] == "/etc/millisight/keys/keys.json"
    (jobs,) = pod.container["env"]
    assert jobs["valueFrom"]["secretKeyRef"] == {"name": "millisight-redis", "key": "url"}
    (copier,) = pod.spec["initContainers"]
    assert (copier["image"], copier["command"][-1]) == ("millisight-bundles:latest", "/models")
    assert "replicas" not in pod.owner["spec"]
    assert len(all_of(objects, "NetworkPolicy")) == 3
    triggers = pick(overlay("keda", ["redis-jobs"]), "ScaledObject")["spec"]["triggers"]
    assert [trigger["name"] for trigger in triggers] == ["requests-in-flight", "job-files-waiting"]


def test_a_setting_that_changes_rolls_the_pods() -> None:
    """The ConfigMap's name holds a hash of its content, and the pods name it."""
    names = {
        pod_of(overlay(*chosen)).container["envFrom"][0]["configMapRef"]["name"]
        for chosen in (("cpu",), ("gpu",), ("cpu", COMPONENTS))
    }
    assert len(names) == 3


FAULTS: list[tuple[str, str, Callable[[Any], object], str]] = [
    ("cpu", "Deployment", lambda o: o["spec"].update(replicas="2"), "'2' is not of type"),
    ("cpu", "Deployment", lambda o: o["spec"]["template"]["spec"].update(enableServiceLink=False), "enableServiceLink"),
    ("cpu", "NetworkPolicy", lambda o: o["spec"]["ingress"][0]["ports"][0].update(ports=1), "ports"),
    ("keda", "ScaledObject", lambda o: o["spec"].update(minReplicas=1), "minReplicas"),
    ("keda", "ScaledObject", lambda o: o["spec"]["triggers"][0]["metadata"].update(threshold=2), "2 is not of type"),
    ("keda", "ScaledObject", lambda o: o["spec"]["fallback"].update(behavior="static"), "behavior"),
    ("keda", "ScaledObject", lambda o: o["spec"]["triggers"][0]["metadata"].pop("query"), "'query' is a required"),
    ("keda", "ServiceMonitor", lambda o: o["spec"]["endpoints"][0].update(interval="5 s"), "'5 s' does not match"),
    ("keda", "ServiceMonitor", lambda o: o["spec"]["endpoints"][0].update(ports="http"), "ports"),
    ("keda", "PrometheusRule", lambda o: o["spec"]["groups"][0]["rules"][0].update(summary="x"), "summary"),
    ("kserve", "InferenceService", lambda o: o["spec"]["predictor"].update(timeout="120"), "'120' is not of type"),
    ("kserve", "InferenceService", lambda o: o["spec"]["predictor"].update(securityContext={}), "securityContext"),
    ("kserve", "InferenceService", lambda o: o["spec"]["predictor"]["containers"][0].update(lifecycle={}), "lifecycle"),
]


@pytest.mark.parametrize(("name", "kind", "change", "expected"), FAULTS, ids=[f"{f[1]}-{f[3]}" for f in FAULTS])
def test_a_fault_is_found(name: str, kind: str, change: Callable[[Any], object], expected: str) -> None:
    entry = all_of(overlay(name), kind)[0]
    change(entry)
    assert any(expected in mistake for mistake in mistakes(entry)), mistakes(entry)
