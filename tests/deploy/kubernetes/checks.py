"""What must be true of the objects of any overlay, against the code; each complaint is a sentence."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

from millisight.resources import quantities
from runtime import Bundle, Target, find_bundles
from runtime.auto import AUTO
from serving.errors import SettingsError
from serving.footprint import footprint
from serving.guard.answers import BENTOML_PATHS
from serving.settings import Settings
from tests.deploy.kubernetes import image
from tests.deploy.kubernetes.manifests import REPOSITORY, Object, Pod, all_of, pod_of
from tests.deploy.kubernetes.network import network_complaints
from tests.deploy.kubernetes.scaling import scaling_complaints

# Startup: all networks of the zoo are ready within 15 s on two cores; larger ones, and busier nodes, are slower.
LEAST_START_S = 180


def complaints(objects: list[Object]) -> list[str]:
    """Everything that is wrong with these objects."""
    try:
        pod = pod_of(objects)
        settings = Settings.from_environment(pod.variables)
    except SettingsError as error:
        return [f"settings: {error}"]
    except ValueError:
        return ["settings: the ConfigMap that the container names is not there"]
    checks: tuple[Callable[[list[Object], Pod, Settings], Iterator[str]], ...] = (
        _variables, _ports, _probes, _times, _security, _places, _image, _resources,
        network_complaints, scaling_complaints,
    )  # fmt: skip
    return [complaint for check in checks for complaint in check(objects, pod, settings)]


def stage_of(settings: Settings) -> str:
    """The stage of the Dockerfile whose image a pod with these settings runs."""
    return "gpu" if settings.target != AUTO and Target.parse(settings.target).on_gpu else "cpu"


def _variables(_: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    if pod.spec.get("enableServiceLinks") is not False:
        yield "settings: enableServiceLinks is on, and a Service would add variables that the service refuses"
    if settings.workers != 1:
        yield f"settings: {settings.workers} workers a pod; Kubernetes scales, not we"
    named = {entry["name"] for entry in pod.container.get("env", [])}
    for name in named:
        if name.removeprefix("MILLISIGHT_").lower() not in Settings.model_fields:
            yield f"settings: {name} is none"
    if settings.jobs == "sqlite":
        yield "settings: jobs in SQLite are in one pod, and questions about them come to all"
    if "MILLISIGHT_JOBS" in named and "redis" not in image.extras(stage_of(settings)):
        yield f"settings: jobs are in Redis and the image {stage_of(settings)} is made without its client"


def _ports(objects: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    exposed = image.port(stage_of(settings))
    names = {entry.get("name"): entry["containerPort"] for entry in pod.container["ports"]}
    if set(names.values()) != {exposed}:
        yield f"ports: the container has {names}, the image exposes {exposed}"
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        if kind in pod.container:
            port = pod.container[kind]["httpGet"]["port"]
            if names.get(port, port) != exposed:
                yield f"ports: {kind} asks {port}"
    for service in all_of(objects, "Service"):
        for entry in service["spec"]["ports"]:
            if names.get(entry["targetPort"], entry["targetPort"]) != exposed:
                yield f"ports: the Service sends to {entry['targetPort']}"


def _probes(_: list[Object], pod: Pod, __: Settings) -> Iterator[str]:
    wanted = {"readinessProbe": "/readyz", "livenessProbe": "/livez"}
    if not pod.knative:
        wanted["startupProbe"] = "/readyz"
    for kind, path in wanted.items():
        probe = pod.container.get(kind)
        if probe is None:
            yield f"probes: there is no {kind}"
        elif probe["httpGet"]["path"] != path or path not in BENTOML_PATHS:
            yield f"probes: {kind} asks {probe['httpGet']['path']}, not {path}"
    startup = pod.container.get("startupProbe")
    if startup and startup["periodSeconds"] * startup["failureThreshold"] < LEAST_START_S:
        yield f"probes: less than {LEAST_START_S} s to start"
    liveness = pod.container.get("livenessProbe", {})
    if liveness.get("periodSeconds", 10) * liveness.get("failureThreshold", 3) < 30:
        yield "probes: a pod under full load would be killed within 30 s"


def _times(_: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    needed = settings.request_timeout + settings.write_timeout
    if pod.knative:
        if pod.spec["timeout"] <= needed:
            yield f"times: Knative ends requests after {pod.spec['timeout']} s, they may take {needed:.0f} s"
        return
    command = pod.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
    if command[0] != "sleep" or float(command[1]) < 5:
        yield "times: without a sleep in preStop requests still arrive where nobody listens any more"
    needed += float(command[1])
    if pod.spec["terminationGracePeriodSeconds"] <= needed:
        yield f"times: terminationGracePeriodSeconds is not above {needed:.0f} s"


def _security(objects: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    uid = image.user(stage_of(settings))
    for container in [*pod.spec.get("initContainers", []), *pod.spec["containers"]]:
        both = pod.spec.get("securityContext", {}) | container.get("securityContext", {})
        wanted: dict[str, Any] = {
            "runAsNonRoot": True,
            "runAsUser": uid,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        for name, value in wanted.items():
            if both.get(name) != value:
                yield f"security: {name} of {container['name']} is {both.get(name)}, not {value}"
    for account in all_of(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield "security: a token of Kubernetes is put into the pod"
    if pod.spec.get("serviceAccountName") != "millisight":
        yield "security: the pod does not run under its own account"


def _places(_: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
    mounts = pod.container.get("volumeMounts", [])
    for mount in mounts:
        if mount["name"] not in volumes:
            yield f"places: {mount['mountPath']} has no volume"
    writable = [
        PurePosixPath(mount["mountPath"])
        for mount in mounts
        if "emptyDir" in volumes.get(mount["name"], {}) and not mount.get("readOnly")
    ]
    home = PurePosixPath(image.variables(stage_of(settings))["BENTOML_HOME"])
    for place in (PurePosixPath("/tmp"), home, PurePosixPath(settings.state)):
        if not any(folder in (place, *place.parents) for folder in writable):
            yield f"places: {place} is written to, and is not writable"
    mounted = [PurePosixPath(mount["mountPath"]) for mount in mounts]
    in_image = PurePosixPath("/app/zoo")
    for root in (*settings.bundles, *([settings.api_keys] if settings.api_keys else [])):
        place = PurePosixPath(root)
        if place != in_image and not any(folder in (place, *place.parents) for folder in mounted):
            yield f"places: {place} is read, and nothing is there"
    for volume in volumes.values():
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"places: {volume['name']} may fill the node's disk"


def _image(_: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    wanted = {"cpu": "millisight:latest", "gpu": "millisight:gpu"}[stage_of(settings)]
    if pod.container["image"] != wanted:
        yield f"image: {pod.container['image']}, not {wanted}"
    if settings.target == AUTO:
        return
    engine = Target.parse(settings.target).engine
    extra = {
        "onnxruntime": {"gpu", "cpu"},
        "openvino": {"openvino"},
        "tensorrt": {"tensorrt"},
        "tensorrtrtx": {"tensorrt-rtx"},
    }
    if not extra[engine] & image.extras(stage_of(settings)):
        yield f"image: it has no {engine}, which {settings.target} needs"


# What a footprint depends on.
_SIZES = {
    "workers", "slots", "threads", "target", "jobs", "job_disk_bytes", "max_pixels", "max_output_pixels",
    "picture_bytes", "body_bytes_total",
}  # fmt: skip


@functools.cache
def _needed(sizes: str) -> dict[str, str]:
    return quantities(footprint(_zoo(), Settings.model_validate_json(sizes)))


@functools.cache
def _zoo() -> tuple[Bundle, ...]:
    return tuple(find_bundles([REPOSITORY / "zoo"]))


def _resources(_: list[Object], pod: Pod, settings: Settings) -> Iterator[str]:
    found = pod.container.get("resources", {})
    limits, requests = found.get("limits", {}), found.get("requests", {})
    gpus = limits.get("nvidia.com/gpu")
    if (gpus is not None) != (stage_of(settings) == "gpu"):
        yield f"resources: {gpus} GPUs for the target {settings.target}"
    for name, quantity in _needed(settings.model_dump_json(include=_SIZES)).items():
        if limits.get(name) != quantity or requests.get(name) != quantity:
            had = f"{requests.get(name)} to {limits.get(name)}"
            yield f"resources: {name} is {had}, bundles and settings need {quantity} (`millisight resources`)"
    sizes = [
        mebibytes(volume["emptyDir"]["sizeLimit"])
        for volume in pod.spec.get("volumes", [])
        if "sizeLimit" in volume.get("emptyDir", {}) and volume["name"] != "models"
    ]
    if "ephemeral-storage" in limits and sum(sizes) > mebibytes(limits["ephemeral-storage"]):
        yield "resources: the volumes may hold more than the pod may write"


def mebibytes(quantity: str) -> int:
    """A quantity of Kubernetes in MiB."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 1, "Gi": 1024}[unit]
