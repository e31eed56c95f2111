"""The bare loop, in a process of its own: a line of JSON in (`work`, `times`), a line of JSON out (seconds each)."""

import hashlib
import json
import sys
import time
from pathlib import Path

from benchmarks.serving.restore import Workshop
from benchmarks.serving.works import Work


def main() -> None:
    """Serve standard input until it ends; the first line holds bundles and target."""
    start = json.loads(sys.stdin.readline())
    workshop = Workshop(start["bundles"], start["target"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_loop(workshop, Work(**asked["work"]), asked["times"])), flush=True)


def _loop(workshop: Workshop, work: Work, times: int) -> dict[str, object]:
    data = Path(work.body).read_bytes()
    answer = workshop.restore(work.route, data, work.format)
    seconds = []
    cpu = time.process_time()
    for _ in range(times):
        begun = time.perf_counter()
        workshop.restore(work.route, data, work.format)
        seconds.append(time.perf_counter() - begun)
    cpu = time.process_time() - cpu
    return {"seconds": seconds, "cpu_s": cpu, "sha256": hashlib.sha256(answer).hexdigest()}


if __name__ == "__main__":
    main()
