from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WORKER = """
import sys
from serving.metrics import Metrics
metrics = Metrics()
metrics.in_flight.inc()
metrics.rejected.labels("deadline").inc()
if sys.argv[1] == "show":
    print(metrics.render()[0].decode())
"""


def run_worker(directory: Path, action: str) -> str:
    """A process that starts a request and never finishes it."""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    command = [sys.executable, "-c", WORKER, action]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_a_dead_workers_requests_are_not_in_flight_but_stay_counted(tmp_path: Path) -> None:
    run_worker(tmp_path, "die")
    # What the scrape has to clean up is really there.
    assert list(tmp_path.glob("gauge_livesum_*.db"))
    text = run_worker(tmp_path, "show")
    assert "restore_requests_in_flight 1.0" in text
    assert 'restore_rejected_total{reason="deadline"} 2.0' in text


def test_importing_the_service_loads_neither_torch_nor_prometheus() -> None:
    # prometheus_client reads its environment at import: imported too early it would count in one process only.
    code = "import sys, serving.service; print('torch' in sys.modules, 'prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_check_above_can_fail() -> None:
    code = "import sys, prometheus_client; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "True\n"
