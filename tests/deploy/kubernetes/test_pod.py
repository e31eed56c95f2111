"""The pod of overlays/cpu, run for real: its environment and its walls around the server, its probes, its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.kubernetes import image
from tests.deploy.kubernetes.manifests import REPOSITORY, Pod, overlay, pod_of
from tests.servers import picture_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SCRIPT = Path(__file__).with_name("pod.sh")
START_LIMIT_S = 180

# Runs beside the server, in its network. Prints the status and writes the answer.
ASK = """
import sys, httpx
method, url, body, answer = sys.argv[1:5]
content = open(body, "rb").read() if body else None
found = httpx.request(method, url, content=content, headers={"Content-Type": "image/png"}, timeout=300, trust_env=False)
if answer: open(answer, "wb").write(found.content)
print(found.status_code)
"""


@dataclass
class Running:
    """A pod that runs: what was started, its first process as this machine numbers it, and where its log is."""

    pod: Pod
    started: subprocess.Popen[bytes]
    log: Path

    @property
    def first(self) -> int:
        (child,) = Path(f"/proc/{self.started.pid}/task/{self.started.pid}/children").read_text().split()
        return int(child)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{image.port('cpu')}"

    def enter(self, *arguments: str) -> list[str]:
        return ["nsenter", "--target", str(self.first), "--net", sys.executable, "-c", ASK, *arguments]

    def ask(self, method: str, path: str, body: str = "", answer: str = "") -> int:
        """The status of an answer; 0 if there is none."""
        command = self.enter(method, self.url + path, body, answer)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        return int(done.stdout) if done.returncode == 0 else 0

    def status(self) -> dict[str, str]:
        """What the system says of the first process."""
        return dict(line.split(":\t", 1) for line in Path(f"/proc/{self.first}/status").read_text().splitlines())


def start(folder: Path, pod: Pod) -> Running:
    """Starts the container of a pod with what its manifest and its image say, and nothing else."""
    for program in ("unshare", "nsenter", "setpriv", "chroot", "ip"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install util-linux coreutils iproute2")
    if os.geteuid() != 0:
        pytest.skip("walls around a process can only be built as root")
    sizes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod.spec["volumes"]}
    mounts = [(mount["mountPath"], sizes[mount["name"]].replace("Mi", "m")) for mount in pod.container["volumeMounts"]]
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    variables = {"PATH": path} | image.variables("cpu") | pod.variables
    place = folder / "pod"
    place.mkdir()
    command = [str(SCRIPT), str(place), str(REPOSITORY), str(image.user("cpu")), "--ignore-environment"]
    command += [f"{name}={value}" for name, value in variables.items()]
    command += ["bentoml", "serve", "serving.service:RestorationService"]
    command += ["--host", "0.0.0.0", "--port", str(image.port("cpu"))]
    log = folder / "server.log"
    told = {
        "POD_VOLUMES": " ".join(f"{path}={size}" for path, size in mounts),
        "POD_PYTHON": os.path.realpath(sys.executable),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=os.environ | told, stdout=output, stderr=subprocess.STDOUT)
    return Running(pod, process, log)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    found = start(tmp_path, pod_of(overlay("cpu")))
    try:
        limit = time.monotonic() + START_LIMIT_S
        path = found.pod.container["startupProbe"]["httpGet"]["path"]
        while found.started.poll() is None and time.monotonic() < limit:
            # Before the namespaces are there, there is nobody to ask.
            children = Path(f"/proc/{found.started.pid}/task/{found.started.pid}/children").read_text().split()
            if children and found.ask("GET", path) == 200:
                break
            time.sleep(0.5)
        else:
            raise AssertionError(f"The pod is not ready:\n{found.log.read_text(errors='replace')}")
        yield found
    finally:
        # The whole namespace of processes ends with `unshare`.
        found.started.kill()
        found.started.wait()
        sys.stdout.write(found.log.read_text(errors="replace"))


def write_picture(path: Path, height: int, width: int) -> str:
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows % 251, columns % 241, (rows + columns) % 239], axis=-1).astype(np.uint8)
    path.write_bytes(picture_file(pixels, compress_level=1))
    return str(path)


def test_the_pod_serves_behind_its_walls_and_ends_with_its_last_request(running: Running, tmp_path: Path) -> None:
    walls = running.status()
    assert walls["Uid"].split() == [str(image.user("cpu"))] * 4
    assert (int(walls["CapEff"], 16), int(walls["CapBnd"], 16), walls["NoNewPrivs"]) == (0, 0, "1")
    # It is the first process of its pod, as in a container.
    assert walls["NSpid"].split()[-1] == "1"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert running.ask("GET", running.pod.container[probe]["httpGet"]["path"]) == 200
    assert running.ask("GET", "/metrics") == 200

    small, large = write_picture(tmp_path / "small.png", 240, 320), write_picture(tmp_path / "large.png", 2500, 4000)
    answer = tmp_path / "restored.png"
    assert running.ask("POST", "/v1/denoise", small, str(answer)) == 200
    assert answer.read_bytes().startswith(b"\x89PNG")

    # The root cannot be written to by anybody, the volumes by the service.
    inside = ["nsenter", "--target", str(running.first), "--mount", "--root"]
    for place in ("/app/new", "/etc/new", f"{REPOSITORY}/new"):
        done = subprocess.run([*inside, "touch", place], capture_output=True, text=True, check=False)
        assert "Read-only file system" in done.stderr
    written = subprocess.run([*inside, "ls", "/tmp/bentoml", "/var/lib/millisight"], capture_output=True, text=True)
    assert "models.sqlite" in written.stdout

    # preStop: it serves on for those who do not know yet. Then SIGTERM, with a long request on its way.
    long = subprocess.Popen(running.enter("POST", running.url + "/v1/denoise", large, ""), stdout=subprocess.PIPE)
    command = running.pod.container["lifecycle"]["preStop"]["exec"]["command"]
    assert subprocess.run([*inside, *command[:1], "0.5"], check=False).returncode == 0
    assert running.ask("GET", "/readyz") == 200
    assert long.poll() is None, "the request was to be on its way still"
    first = running.first
    os.kill(first, signal.SIGTERM)
    told = time.monotonic()
    said, _ = long.communicate(timeout=running.pod.spec["terminationGracePeriodSeconds"])
    assert said.strip() == b"200"
    running.started.wait(timeout=running.pod.spec["terminationGracePeriodSeconds"] - (time.monotonic() - told))


def test_without_its_volumes_it_would_not_start(tmp_path: Path) -> None:
    """The walls are real: without its place to write the service fails, which is what a read-only root is for."""
    pod = pod_of(overlay("cpu"))
    pod.container["volumeMounts"] = [mount for mount in pod.container["volumeMounts"] if mount["name"] != "state"]
    found = start(tmp_path, pod)
    try:
        assert found.started.wait(timeout=START_LIMIT_S) != 0
    finally:
        found.started.kill()
        found.started.wait()
    log = found.log.read_text(errors="replace")
    assert "The service cannot start" in log
    assert "/var/lib/millisight" in log
