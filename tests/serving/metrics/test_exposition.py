"""Workers as processes that write into one folder, and the text that each of them gives over all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.multiprocess import MultiProcessCollector

from serving.metrics.exposition import Exposition
from serving.processes import tells_of_processes
from tests.serving.metrics.reading import Scrape, went_back

WORKER = """
import sys
from prometheus_client import Counter, Gauge, Histogram
from serving.metrics.exposition import Exposition
exposition = Exposition(int(sys.argv[1]))
own = exposition.registry
counter = Counter("answers", "help", ("code",), registry=own)
gauge = Gauge("waiting", "help", registry=own, multiprocess_mode="livesum")
histogram = Histogram("seconds", "help", registry=own, buckets=(1, 2))
for line in sys.stdin:
    if line == "count\\n":
        counter.labels("200").inc(); gauge.inc(); histogram.observe(1.5)
    else:
        print(exposition.render()[0].decode())
    print("# END", flush=True)
"""


class WorkerProcess:
    def __init__(self, folder: Path, number: int) -> None:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
        command = [sys.executable, "-c", WORKER, str(number)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)

    def _ask(self, what: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) != "# END\n":
            assert line, "the worker has ended"
            lines.append(line)
        return "".join(lines)

    def count(self) -> None:
        self._ask("count")

    def show(self) -> Scrape:
        return Scrape(self._ask("show"))

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[[int], WorkerProcess]]:
    with ExitStack() as stack:

        def start(number: int) -> WorkerProcess:
            worker = WorkerProcess(tmp_path, number)
            stack.callback(worker.close)
            return worker

        yield start


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*.db")}


def test_sums_are_right_through_a_workers_death_and_no_file_is_added(
    start_worker: Callable[[int], WorkerProcess], tmp_path: Path
) -> None:
    first, second = start_worker(1), start_worker(2)
    first.count(), second.count(), second.count()
    scrapes = [first.show(), second.show()]
    assert scrapes[0].counted == scrapes[1].counted
    assert scrapes[0].sum("answers_total", code="200") == scrapes[0].sum("waiting") == 3
    assert scrapes[0].sum("seconds_bucket", le="2.0") == scrapes[0].sum("seconds_count") == 3
    before = files(tmp_path)

    first.kill()
    first.process.wait()
    scrapes.append(second.show())
    assert scrapes[-1].sum("answers_total") == 3
    assert scrapes[-1].sum("waiting") == 2

    successor = start_worker(1)
    scrapes.append(successor.show())
    assert scrapes[-1].sum("answers_total") == 3
    assert scrapes[-1].sum("waiting") == 2
    successor.count()
    scrapes.append(second.show())
    assert scrapes[-1].sum("answers_total") == 4
    assert scrapes[-1].sum("waiting") == 3
    assert went_back(scrapes) == []
    assert files(tmp_path) == before

    if tells_of_processes():
        workers = [sorted(each.by("process_start_time_seconds", "worker")) for each in scrapes]
        assert workers == [["1", "2"], ["1", "2"], ["2"], ["1", "2"], ["1", "2"]]
        starts = [scrapes[index].by("process_start_time_seconds", "worker") for index in (0, -1)]
        assert starts[0]["1"] < starts[1]["1"]
        assert starts[0]["2"] == starts[1]["2"]


def test_a_counter_that_goes_back_or_away_is_seen() -> None:
    texts = [f"# TYPE a_total counter\na_total {value}\n" for value in (2, 3, 1)]
    scrapes = [Scrape(text) for text in (*texts, "# TYPE a_total gauge\n")]
    assert went_back(scrapes[:2]) == []
    assert len(went_back(scrapes)) == 2


def test_a_file_that_a_killed_worker_just_made_spoils_no_scrape(
    start_worker: Callable[[int], WorkerProcess], tmp_path: Path
) -> None:
    worker = start_worker(1)
    worker.count()
    (tmp_path / "counter_2.db").touch()
    assert worker.show().sum("answers_total") == 1
    with pytest.raises(Exception, match="unpack_from requires a buffer"):
        MultiProcessCollector.merge([str(tmp_path / "counter_2.db")])


def test_two_servers_in_one_folder_do_not_damage_each_others_files(
    start_worker: Callable[[int], WorkerProcess],
) -> None:
    one = start_worker(1)
    one.show()  # it has taken its place before the other one looks
    other = start_worker(1)
    for _ in range(3):
        one.count(), other.count()
    assert one.show().sum("answers_total") == other.show().sum("answers_total") == 6


def test_one_process_without_a_folder_tells_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    exposition = Exposition(3)
    Counter("answers", "help", ("code",), registry=exposition.registry).labels("200").inc()
    text, content_type = exposition.render()
    seen = Scrape(text.decode())
    assert content_type.startswith("text/plain")
    assert seen.sum("answers_total", code="200") == 1
    assert not any(name.endswith("_created") for name, _ in seen.values)
    assert list(seen.by("restore_build_info", "version").values()) == [1]
    if tells_of_processes():
        assert seen.by("process_resident_memory_bytes", "worker")["3"] > 2**20
        assert seen.by("process_cpu_seconds_total", "worker")["3"] > 0
