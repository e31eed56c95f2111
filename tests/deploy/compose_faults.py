"""What can be wrong with the compose file, each as a check that yields sentences."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from typer.testing import CliRunner

from millisight.cli import app
from millisight.target_option import parse_target
from runtime import Bundle, MillisightError
from serving.errors import SettingsError
from serving.footprint import footprint
from serving.settings import PREFIX, Settings
from tests.deploy import recipe
from tests.deploy.composing import DEPLOY, mounts, on_disk, published, seconds, size
from tests.servers import free_port

Compose = dict[str, Any]
Check = Callable[[Compose], Iterator[str]]
# What each container listens on, by its program's own default or our command.
PORTS = {"millisight": 3000, "prometheus": 9090, "pushgateway": 9091, "grafana": 3000}
# The objectives look back this long; see deploy/prometheus/rules/slo.yml.
OBJECTIVE_DAYS = 28
WRONG_USE = 2


def cage(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        wanted = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
        yield from (
            f"{name}: {key} is {service.get(key)}" for key, value in wanted.items() if service.get(key) != value
        )
        yield from (
            f"{name} has no {key}" for key in ("cpus", "mem_limit", "pids_limit", "restart") if key not in service
        )
        loose = {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices", "user"} & set(service)
        yield from (f"{name} sets {key}" for key in sorted(loose))
        for mount in mounts(service):
            if mount.kind == "bind" and not mount.read_only:
                yield f"{name} may write {mount.source}"
            if "docker.sock" in mount.source:
                yield f"{name} is given the engine itself"


def images(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        if "build" not in service and not re.search(r":v?\d+\.\d+\.\d+(@sha256:\w{64})?$", service["image"]):
            yield f"{name}: {service['image']} names no version"
        if "build" in service and service["build"]["target"] not in recipe.stages():
            yield f"{name}: the Dockerfile has no target {service['build']['target']}"


def places(compose: Compose) -> Iterator[str]:
    used = set()
    for name, service in compose["services"].items():
        for mount in mounts(service):
            if mount.kind == "volume":
                used.add(mount.source)
            elif not mount.made and not (DEPLOY / mount.source).exists():
                yield f"{name}: {mount.source} is not there"
    if used != set(compose["volumes"]):
        yield f"volumes {sorted(used ^ set(compose['volumes']))} are used or declared, not both"


def ports(compose: Compose) -> Iterator[str]:
    taken = set()
    for name, service in compose["services"].items():
        for address, host, container in published(service):
            if address != "127.0.0.1":
                yield f"{name} is open to {address}"
            if container != PORTS.get(name):
                yield f"{name} listens on {PORTS.get(name)}, not on {container}"
            if host in taken:
                yield f"{name}: port {host} is taken"
            taken.add(host)
    if recipe.inherited("EXPOSE") != str(PORTS["millisight"]):
        yield "the image listens elsewhere"


def service(compose: Compose) -> Iterator[str]:
    ours = compose["services"]["millisight"]
    given = {name: str(value) for name, value in ours["environment"].items()}
    try:
        settings = Settings.from_environment(given)
    except SettingsError as error:
        yield f"the service would not start: {error}"
        return
    try:
        parse_target(settings.target)
    except MillisightError as error:
        yield f"the service would not start: {error}"
        return
    yield from (f"the service does not read {name}" for name in given if not name.startswith(PREFIX))
    kept = [mount.target for mount in mounts(ours) if mount.kind == "volume"]
    if str(settings.state) not in kept:
        yield f"jobs in {settings.state} are lost with the container"
    if not any(f"--owner 10001 --group 10001 {place}" in recipe.DOCKERFILE for place in kept):
        yield f"the service's user may not write to {kept}"
    if "/app/runs" not in {mount.target for mount in mounts(ours)}:
        yield "no runs are mounted where the service looks for them"
    needed = _memory_of_zoo(settings, round(float(ours["cpus"]))) + sum(_tmpfs(ours).values())
    if size(ours["mem_limit"]) < needed:
        yield f"mem_limit {ours['mem_limit']} is less than what the service may hold, {needed >> 20} MiB"
    if seconds(ours["stop_grace_period"]) < settings.request_timeout + settings.write_timeout:
        yield "requests under way are cut off"
    if "/tmp" not in _tmpfs(ours):
        yield "BENTOML_HOME cannot be written"


@functools.cache
def _memory_of_zoo(settings: Settings, cores: int) -> int:
    bundles = [Bundle.load(manifest.parent) for manifest in sorted((DEPLOY.parent / "zoo").glob("*/manifest.json"))]
    # One worker; the slots share its cores.
    return footprint(bundles, settings.model_copy(update={"threads": max(1, cores // settings.slots)})).memory_bytes


def health(compose: Compose) -> Iterator[str]:
    check = compose["services"]["millisight"]["healthcheck"]
    options = {"interval": "interval", "timeout": "timeout", "start_period": "start-period", "retries": "retries"}
    wanted = recipe.inherited("HEALTHCHECK")
    words = " ".join(f"--{flag}={check[key]}" for key, flag in options.items())
    if sorted(words.split()) != sorted(wanted.partition(" CMD ")[0].split()):
        yield f"the image is asked with {wanted.partition(' CMD ')[0]}, here with {words}"
    if yaml.safe_load(wanted.partition(" CMD ")[2]) != check["test"][1:]:
        yield "the image is asked something else"
    for name, one in compose["services"].items():
        for other, how in one.get("depends_on", {}).items():
            if how["condition"] == "service_healthy" and "test" not in compose["services"][other].get(
                "healthcheck", {}
            ):
                yield f"{name} waits for {other} to say that it is healthy, which it never does"
        asked = re.findall(r"http://127\.0\.0\.1:(\d+)", str(one.get("healthcheck", {}).get("test")))
        yield from (f"{name} is asked on port {port}" for port in asked if int(port) != PORTS.get(name))


def load(compose: Compose) -> Iterator[str]:
    one = compose["services"]["load"]
    program, command, url, *words = one["command"]
    if one["image"] != compose["services"]["millisight"]["image"] or one.get("profiles") != ["load"]:
        yield "load is no profile of the same image"
    if url != "http://millisight:3000":
        yield f"the load goes to {url}"
    # Started for real, at an address where nobody is; what it does not understand ends it before it asks.
    done = CliRunner().invoke(app, [command, f"http://127.0.0.1:{free_port()}", *words])
    if program != "millisight" or done.exit_code == WRONG_USE:
        yield f"the load generator would not start: {' '.join(done.output.split())}"


def prometheus(compose: Compose) -> Iterator[str]:
    one = compose["services"]["prometheus"]
    flags = dict(word.split("=", 1) for word in one["command"])
    file = on_disk(one, flags["--config.file"])
    if file is None or not file.exists():
        yield f"there is no {flags['--config.file']}"
        return
    if flags["--storage.tsdb.path"] not in {mount.target for mount in mounts(one) if mount.kind == "volume"}:
        yield "what Prometheus knows is lost with the container"
    if int(flags["--storage.tsdb.retention.time"].removesuffix("d")) <= OBJECTIVE_DAYS:
        yield f"objectives look back {OBJECTIVE_DAYS} days, Prometheus keeps less"
    if shutil.which("prometheus"):
        told = subprocess.run(["prometheus", "--help"], capture_output=True, text=True, check=False)
        yield from (f"prometheus has no {flag}" for flag in flags if f"{flag}=" not in told.stdout + told.stderr)
    config = yaml.safe_load(file.read_text())
    listed = [config for job in config["scrape_configs"] for config in job.get("static_configs", [])]
    for job in config["scrape_configs"]:
        for entry in job.get("file_sd_configs", []):
            listed += [one for pattern in entry["files"] for path in file.parent.glob(pattern) for one in _lists(path)]
    targets = {target for entry in listed for target in entry["targets"]}
    if len(targets) < len(config["scrape_configs"]):
        yield f"only {sorted(targets)} are scraped"
    for target in sorted(targets):
        name, _, port = target.partition(":")
        if name not in compose["services"] or int(port) != PORTS.get(name):
            yield f"nothing here is {target}"


def grafana(compose: Compose) -> Iterator[str]:
    one = compose["services"]["grafana"]
    given = one["environment"]
    if given["PROMETHEUS_URL"] != "http://prometheus:9090":
        yield f"Prometheus is not at {given['PROMETHEUS_URL']}"
    if given["GF_AUTH_ANONYMOUS_ENABLED"] not in ("false", False):
        yield "anybody may look"
    files = list((DEPLOY / "grafana" / "provisioning").rglob("*.yml"))
    if {path.parent.name for path in files} != {"datasources", "dashboards"}:
        yield "data source or dashboards are not provisioned"
    text = "".join(path.read_text() for path in files)
    yield from (
        f"provisioning reads {name}, which is not set" for name in re.findall(r"\$\{?(\w+)", text) if name not in given
    )
    folders = re.findall(r"^\s+path: (\S+)$", text, re.MULTILINE)
    for path in [*folders, given["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], "/etc/grafana/provisioning/datasources"]:
        there = on_disk(one, path)
        if there is None or not there.exists():
            yield f"Grafana looks into {path}, where nothing is mounted"


CHECKS: tuple[Check, ...] = (cage, images, places, ports, service, health, load, prometheus, grafana)


def faults(compose: Compose) -> list[str]:
    """All of them."""
    return [fault for check in CHECKS for fault in check(compose)]


def _tmpfs(service: dict[str, Any]) -> dict[str, int]:
    found = {}
    for entry in service.get("tmpfs", []):
        path, _, options = entry.partition(":")
        found[path] = size(dict(part.split("=") for part in options.split(","))["size"])
    return found


def _lists(path: Any) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, list)
    return content
