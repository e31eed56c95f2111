"""The compose files against their format, the files they mount, and the code they start."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.compose_faults import faults
from tests.deploy.composing import COMPOSE, DEPLOY, GPU, PASSWORD, VARIABLE, read
from tests.monitoring.programs import needs


def valid(text: str) -> None:
    """Raises ValueError if it is no compose file; by the format's own rules, of a parser that is not ours."""
    parser = pytest.importorskip("compose_spec", reason="compose-spec is not installed: pip install '.[dev]'")
    # The parser follows no merge keys; PyYAML writes what they mean.
    parser.PyCompose.from_yaml(yaml.safe_dump(read(text))).validate()


@pytest.mark.parametrize("file", [COMPOSE, GPU], ids=lambda file: file.name)
def test_the_format_is_kept(file: Path) -> None:
    valid(file.read_text())


@pytest.mark.parametrize(
    ("there", "planted"),
    [
        ("read_only: true", "readonly: true"),
        ("read_only: true", "read_only: 7"),
        ("condition: service_healthy", "condition: service_helthy"),
        ("\nvolumes:\n", "\nvolume:\n"),
        ("cap_drop: [ALL]", "cap_drop: ALL"),
        ("interval: 10s", "interval: ten"),
    ],
)
def test_a_broken_format_is_noticed(there: str, planted: str) -> None:
    text = COMPOSE.read_text().replace(there, planted, 1)
    assert text != COMPOSE.read_text()
    with pytest.raises(ValueError, match=r"."):
        valid(text)


def test_nothing_is_wrong_with_it() -> None:
    assert faults(read(COMPOSE.read_text())) == []


@pytest.mark.parametrize(
    ("there", "planted", "said"),
    [
        ("read_only: true\n  cap", "read_only: false\n  cap", "read_only is False"),
        ("pids_limit: 512", "privileged: true", "millisight sets privileged"),
        ("source: ./prometheus\n        target: /etc/prometheus\n        read_only: true",
         "source: ./prometheus\n        target: /etc/prometheus", "prometheus may write ./prometheus"),
        ("prom/prometheus:v3.11.3", "prom/prometheus:latest", "names no version"),
        ("target: cpu", "target: tpu", "the Dockerfile has no target tpu"),
        ("source: ./grafana/dashboards", "source: ./grafana/boards", "./grafana/boards is not there"),
        ("\n  state:\n", "\n", "volumes ['state'] are used or declared, not both"),
        ("127.0.0.1}:${SERVICE", "0.0.0.0}:${SERVICE", "millisight is open to 0.0.0.0"),
        (":-3000}:3000", ":-3000}:8000", "millisight listens on 3000, not on 8000"),
        ("GRAFANA_PORT:-3001", "GRAFANA_PORT:-9090", "port 9090 is taken"),
        ("MILLISIGHT_SLOTS", "MILLISIGHT_SLOT", "the service would not start: Unknown setting MILLISIGHT_SLOT"),
        ("TARGET:-auto", "TARGET:-gpu", "the service would not start: "),
        ("MILLISIGHT_STATE: /var/lib/millisight", "MILLISIGHT_STATE: /data", "jobs in /data are lost"),
        ("target: /var/lib/millisight", "target: /data", "the service's user may not write"),
        (":/app/runs:ro", ":/runs:ro", "no runs are mounted"),
        ("MEMORY:-5g", "MEMORY:-4g", "mem_limit 4g is less than what the service may hold, "),
        ("stop_grace_period: 100s", "stop_grace_period: 1m", "requests under way are cut off"),
        ("interval: 10s", "interval: 5s", "the image is asked with"),
        ("127.0.0.1:3000/readyz", "127.0.0.1:3000/health", "the image is asked something else"),
        ("127.0.0.1:9090/-/ready", "127.0.0.1:9091/-/ready", "prometheus is asked on port 9091"),
        ("--rate", "--speed", "the load generator would not start: "),
        ("http://millisight:3000", "http://service:3000", "the load goes to http://service:3000"),
        ("retention.time=35d", "retention.time=15d", "objectives look back 28 days"),
        ("/etc/prometheus/prometheus.yml", "/etc/prometheus.yml", "there is no /etc/prometheus.yml"),
        ("path=/prometheus", "path=/data", "what Prometheus knows is lost"),
        ("\n  pushgateway:", "\n  gateway:", "nothing here is pushgateway:9091"),
        ("PROMETHEUS_URL: http://prometheus:9090", "PROMETHEUS_URL: http://prometheus", "Prometheus is not at"),
        ("ANONYMOUS:-false", "ANONYMOUS:-true", "anybody may look"),
        ("dashboards/overview.json", "dashboards/home.json", "where nothing is mounted"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(there: str, planted: str, said: str) -> None:
    text = COMPOSE.read_text()
    assert there in text
    assert [fault for fault in faults(read(text.replace(there, planted, 1))) if said in fault]


def test_the_example_names_every_variable_with_its_default() -> None:
    wanted: dict[str, str] = {}
    for found in VARIABLE.finditer(COMPOSE.read_text()):
        wanted.setdefault(found["name"], found["default"] or "")
        assert wanted[found["name"]] == (found["default"] or "")
    assert {found["name"] for found in VARIABLE.finditer(GPU.read_text())} <= set(wanted)
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    entries = [found for line in lines if (found := re.fullmatch(r"(#?)(\w+)=(.*)", line))]
    assert {found[2]: found[3] for found in entries} == wanted
    # What has no default is what must be filled in.
    assert [found[2] for found in entries if not found[1]] == list(PASSWORD) == [k for k, v in wanted.items() if not v]


def test_git_ignores_the_file_with_the_password() -> None:
    done = subprocess.run(["git", "check-ignore", "-q", "deploy/.env"], cwd=DEPLOY.parent, check=False)
    assert done.returncode == 0


def in_any_order(value: object) -> object:
    """Files put together list their volumes as they like."""
    return sorted(map(str, value)) if isinstance(value, list) else value


@needs("docker-compose")
class TestComposeItself:
    """Debian's docker-compose puts variables in and files together; it needs no engine for that."""

    def config(self, folder: Path, *files: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["docker-compose", "--project-directory", str(DEPLOY)]
        for file in files:
            # It is older than the top-level name, and knows everything else.
            copy = folder / file.name
            copy.write_text(re.sub(r"^name: .*\n", "", file.read_text(), flags=re.MULTILINE))
            command += ["-f", str(copy)]
        return subprocess.run(
            [*command, "--profile", "load", "config"],
            env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def services(self, folder: Path, *files: Path, **environment: str) -> dict[str, Any]:
        done = self.config(folder, *files, **PASSWORD, **environment)
        assert done.returncode == 0, done.stderr
        found = yaml.safe_load(done.stdout)["services"]
        assert isinstance(found, dict)
        return found

    def test_it_reads_what_we_read(self, tmp_path: Path) -> None:
        theirs, ours = self.services(tmp_path, COMPOSE), read(COMPOSE.read_text())["services"]
        assert set(theirs) == set(ours)
        for name, service in ours.items():
            for key in ("image", "command", "cap_drop", "read_only", "tmpfs", "mem_limit", "pids_limit", "restart"):
                wanted = service.get(key)
                wanted = [str(word) for word in wanted] if isinstance(wanted, list) else wanted
                assert theirs[name].get(key) == wanted, (name, key)

    def test_the_gpu_file_changes_image_target_memory_and_device(self, tmp_path: Path) -> None:
        plain, with_gpu = self.services(tmp_path, COMPOSE), self.services(tmp_path, COMPOSE, GPU)
        for name in ("millisight", "load"):
            assert with_gpu[name]["image"] == "millisight:gpu"
            assert with_gpu[name]["build"]["target"] == "gpu"
        (device,) = with_gpu["millisight"]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
        assert with_gpu["millisight"]["environment"]["MILLISIGHT_TARGET"] == "cuda-onnxruntime-fp32"
        for name, service in plain.items():
            changed = {"image", "build", "environment", "deploy"} if name in ("millisight", "load") else set()
            changed |= {"mem_limit"} if name == "millisight" else set()
            for key in set(service) - changed:
                assert in_any_order(with_gpu[name][key]) == in_any_order(service[key]), (name, key)

    def test_without_a_password_nothing_starts(self, tmp_path: Path) -> None:
        done = self.config(tmp_path, COMPOSE)
        assert done.returncode == 1
        assert "copy deploy/.env.example to deploy/.env" in done.stderr
