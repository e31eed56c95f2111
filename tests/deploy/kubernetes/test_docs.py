"""What docs/kubernetes.md tells to write, and the numbers that it names."""

from __future__ import annotations

import os
import re
from pathlib import Path

import yaml

from tests.deploy.kubernetes import checks
from tests.deploy.kubernetes.manifests import OVERLAYS, REPOSITORY, ROOT, Object, all_of, build, overlay, pick, pod_of
from tests.deploy.kubernetes.test_valid import assert_valid

PAGE = (REPOSITORY / "docs" / "kubernetes.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rendered(folder: Path, text: str) -> list[Object]:
    """What kustomize makes of a folder of an operator who has this repository beside it."""
    folder.mkdir()
    beside = os.path.relpath(ROOT, folder)
    (folder / "kustomization.yaml").write_text(text.replace("millisight/deploy/kubernetes", beside))
    (folder / "resources.yaml").write_text((ROOT / "overlays" / "cpu" / "resources.yaml").read_text())
    return build(folder)


def test_the_folder_of_your_own_builds_and_holds(tmp_path: Path) -> None:
    objects = rendered(tmp_path / "mine", BLOCKS[0])
    assert_valid(objects)
    pod = pod_of(objects)
    assert pod.container["image"] == "registry.example/millisight:0.1.0"
    assert pod.spec["initContainers"][0]["image"] == "registry.example/my-bundles:7"
    assert pod.variables["MILLISIGHT_REQUEST_TIMEOUT"] == "30"
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert pick(objects, kind)["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    sources = pick(objects, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "traefik"}}} in sources
    # Nothing but the image's name, which is the operator's.
    assert [found for found in checks.complaints(objects) if not found.startswith("image:")] == []


def test_bundles_may_be_on_a_volume(tmp_path: Path) -> None:
    content = {
        "resources": ["millisight/deploy/kubernetes/overlays/cpu"],
        "components": ["millisight/deploy/kubernetes/components/bundles"],
        "patches": [{"patch": BLOCKS[1]}],
    }
    objects = rendered(tmp_path / "mine", yaml.safe_dump(content))
    assert_valid(objects)
    pod = pod_of(objects)
    (models,) = [volume for volume in pod.spec["volumes"] if volume["name"] == "models"]
    assert models == {"name": "models", "persistentVolumeClaim": {"claimName": "my-bundles", "readOnly": True}}
    assert not pod.spec.get("initContainers")
    assert checks.complaints(objects) == []


def test_it_names_what_there_is() -> None:
    for name in OVERLAYS:
        assert f"`overlays/{name}`" in PAGE
    for folder in (ROOT / "components").iterdir():
        assert f"`components/{folder.name}`" in PAGE
    limit = checks.mebibytes(pod_of(overlay("cpu")).container["resources"]["limits"]["memory"])
    assert f"the limit is {limit:,} MiB" in PAGE
    (trigger,) = pick(overlay("keda"), "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["query"] in PAGE
    assert len(all_of(overlay("cpu"), "NetworkPolicy")) == 1
