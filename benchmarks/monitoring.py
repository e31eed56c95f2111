"""The pictures of the dashboards: `python -m benchmarks.monitoring`, a quarter of an hour; needs Debian's prometheus.

The service with the bundles of the zoo, a Prometheus with the committed rules that scrapes it, and `millisight load`:
callers who wait, to find out how much the service can answer; a steady load of 60 % of that, a minute of far too much,
and steady again. Then `millisight monitor snapshot` draws what Prometheus holds.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import yaml

from benchmarks.serving.processes import stop_tree, wait_until_quiet

PROMETHEUS = Path("deploy/prometheus")
IMAGES = Path("docs/images")
SCRAPE_S = 5
STEADY, FLOOD = 0.6, 2.5
"""Arrivals as parts of what callers who wait are answered."""
PICTURES = {
    "monitoring-overview.png": ("overview", ("At a glance", "Requests", "Stages of a request", "Queue and saturation")),
    "monitoring-promise.png": ("latency-promise", ()),
}
"""File to dashboard, and the headings that are drawn; none: all."""


def main() -> None:
    """Run the load, then draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=6.0, help="of steady load; half of it once more after the flood"
    )
    parser.add_argument("--folder", type=Path, help="keeps logs and Prometheus' data; a temporary one by default")
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        print(f"idle before: {wait_until_quiet(0.9, 120):.0%}")
        service = stack.enter_context(_service(folder))
        prometheus = stack.enter_context(_prometheus(folder, service))
        start = time.time()
        _load(service, options.minutes)
        end = time.time()
        # The last scrape, and the rules that follow it.
        time.sleep(SCRAPE_S + 15)
        shown = ("--since", f"{end - start:.0f}s", "--until", f"{end:.0f}", "--scrape-interval", f"{SCRAPE_S}s")
        for file, (dashboard, rows) in PICTURES.items():
            rows_only = [part for row in rows for part in ("--row", row)]
            command = ["monitor", "snapshot", "--prometheus", prometheus, "--dashboard", dashboard]
            print(_millisight(*command, *shown, *rows_only, "-o", str(options.out / file)), end="")


def _load(service: str, minutes: float) -> None:
    sizes = ("--sizes", "256x256,512x384,640x480,1024x768")
    found = _millisight("load", service, *sizes, "--callers", "4", "--seconds", "45", "--json")
    capacity = json.loads(found)["goodput"]
    steady, flood = (("--rate", f"{part * capacity:.2f}") for part in (STEADY, FLOOD))
    print(f"capacity {capacity:.2f} pictures a second")
    mixed = (*sizes, "--bad-share", "0.02", "--deadline-ms", "4000")
    for number, (rate, seconds) in enumerate(((steady, 60 * minutes), (flood, 60), (steady, 30 * minutes))):
        print(_millisight("load", service, *mixed, *rate, "--seconds", str(seconds), "--seed", str(number)))


def _millisight(*arguments: str) -> str:
    command = [sys.executable, "-m", "millisight.cli", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[str]:
    """One slot of one thread: what the records of the zoo are for, and a core is left for those who watch."""
    port = _free_port()
    environment = os.environ | {
        "BENTOML_HOME": str(folder / "bentoml"),
        "MILLISIGHT_BUNDLES": "zoo",
        "MILLISIGHT_THREADS": "1",
        "MILLISIGHT_SLOTS": "1",
    }
    command = [sys.executable, "-m", "millisight.cli", "serve", "--port", str(port)]
    with _running(command, f"http://127.0.0.1:{port}", "/readyz", folder / "service.log", environment) as url:
        yield url


@contextlib.contextmanager
def _prometheus(folder: Path, service: str) -> Iterator[str]:
    if shutil.which("prometheus") is None:
        sys.exit("prometheus is not installed: apt-get install prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["rule_files"] = [str((PROMETHEUS / "rules").resolve() / "*.yml")]
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "millisight")
    job["static_configs"] = [{"targets": [service.removeprefix("http://")]}]
    job["scrape_interval"] = f"{SCRAPE_S}s"
    config["scrape_configs"] = [job]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = _free_port()
    command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "prometheus.log"
    with _running(command, f"http://127.0.0.1:{port}", "/-/ready", log, dict(os.environ)) as url:
        yield url


@contextlib.contextmanager
def _running(command: list[str], url: str, ready: str, log: Path, environment: dict[str, str]) -> Iterator[str]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        limit = time.monotonic() + 60
        while True:
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{command[0]} is not ready; see {log}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(url + ready, trust_env=False).status_code == httpx.codes.OK:
                    break
            time.sleep(0.2)
        yield url
    finally:
        stop_tree(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
