"""Starts the service of an image as its configuration says, inside the image, and asks it. `try.sh` calls it.

    python ask.py CONFIG

CONFIG is the JSON of the image's configuration, as `docker inspect` has it under `Config`. The health check must come
to agree, every bundle's sample must come out as the bundle itself shows it, the load generator must be answered,
nothing outside /tmp may be written, and SIGTERM must end it with 0. What holds is printed, a line each; the first thing
that does not hold ends it with 1.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

URL = "http://127.0.0.1:3000"
START_LIMIT_S = 180.0
# A bundle shows the middle of a larger picture: only the middle of it saw the same surroundings.
MIDDLE = slice(48, -48)
LEAST_DB = 33.0


def wait_until_healthy(test: list[str], process: subprocess.Popen[bytes]) -> float:
    """Seconds until the image's own health check agrees."""
    start = time.monotonic()
    while subprocess.run(test, check=False, stderr=subprocess.DEVNULL).returncode:
        _must(process.poll() is None, f"the server ended with {process.returncode} before it was healthy")
        _must(time.monotonic() - start < START_LIMIT_S, f"not healthy after {START_LIMIT_S:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - start


def restored(bundle: Path) -> str:
    """Sends the bundle's sample; says which target answered and how near the answer is to what the bundle shows."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    address = f"{URL}/v1/{manifest['task']}?model={manifest['name']}"
    body = (bundle / "sample-degraded.png").read_bytes()
    request = urllib.request.Request(address, data=body, headers={"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        target, got = answer.headers["X-Target"], Image.open(BytesIO(answer.read()))
    wanted = Image.open(bundle / "sample-restored.png")
    _must(got.size == wanted.size, f"{bundle.name}: {got.size} came back instead of {wanted.size}")
    pixels = [np.asarray(picture.convert("RGB"), dtype=np.float64)[MIDDLE, MIDDLE] for picture in (got, wanted)]
    decibel = 10 * np.log10(255.0**2 / max(float(((pixels[0] - pixels[1]) ** 2).mean()), 1e-9))
    _must(decibel > LEAST_DB, f"{bundle.name}: {decibel:.1f} dB to what the bundle shows")
    return f"{manifest['name']} on {target}, {decibel:.1f} dB to what the bundle shows"


def cage() -> str:
    """Checks what the service may do: nothing, to nowhere, but for /tmp."""
    _must(os.getuid() > 0, "this runs as root")
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        _must(int(status[name], 16) == 0, f"{name} is {status[name]}")
    for folder in ("/", "/app", "/app/zoo", "/opt/venv", "/etc", "/var/lib/millisight"):
        _must(not _can_write(Path(folder)), f"{folder} can be written")
    return f"uid {os.getuid()}, no capability, no folder to write but /tmp"


def main(config: dict[str, Any]) -> None:
    """Starts, asks, stops."""
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(config["WorkingDir"])
    _say(cage())
    with Path("/tmp/server.log").open("wb") as log:
        process = subprocess.Popen([*(config["Entrypoint"] or []), *config["Cmd"]], stdout=log, stderr=log)
    try:
        _say(f"healthy after {wait_until_healthy(config['Healthcheck']['Test'][1:], process):.1f} s")
        for bundle in sorted(path.parent for path in Path("zoo").rglob("manifest.json")):
            _say(restored(bundle))
        command = ["millisight", "load", URL, "--rate", "2", "--seconds", "5"]
        _say(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1])
        process.send_signal(signal.SIGTERM)
        _must(process.wait(timeout=60) == 0, f"SIGTERM ended it with {process.returncode}")
        _say("SIGTERM ended it with 0")
    except BaseException:
        process.kill()
        sys.stderr.write(Path("/tmp/server.log").read_text(errors="replace"))
        raise


def _can_write(folder: Path) -> bool:
    probe = folder / "written-by-ask"
    attempt: Callable[[], object] = probe.touch
    try:
        attempt()
    except OSError:
        return False
    probe.unlink()
    return True


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        sys.exit(f"It does not hold: {otherwise}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
