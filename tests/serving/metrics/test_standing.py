"""Gauges of models that come, change and go; in one process and over workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from serving.metrics import Metrics
from serving.models import ModelKeeper
from serving.settings import Settings
from tests.servers import write_known_bundle
from tests.serving.metrics.places import PROMISED_MS, SIDE, TARGET, latency, write_promised_bundle
from tests.serving.metrics.reading import Scrape

OF_MODELS = (
    "restore_drift_ratio", "restore_budget_seconds", "restore_promised_tile_seconds", "restore_promise_info",
    "restore_model_load_seconds",
)  # fmt: skip


class Watched:
    """A keeper, and what Prometheus sees of it."""

    def __init__(self, root: Path, state: Path) -> None:
        self.metrics = Metrics()
        self.keeper = ModelKeeper(Settings(bundles=(root,), target=TARGET, state=state), self.metrics.observe_catalogue)
        self.keeper.open()
        self.keeper.warm_up()

    def slow_down(self, name: str) -> float:
        """Runs take twice what they took; returns the drift."""
        model = self.keeper.catalogue.find(name)
        assert model is not None
        seconds = 2 * model.costs.seconds((SIDE, SIDE), 1)
        for _ in range(300):
            model.costs.observe((SIDE, SIDE), 1, seconds)
        assert model.costs.drift == pytest.approx(seconds * 1000 / PROMISED_MS, rel=0.05)
        return model.costs.drift

    def see(self) -> Scrape:
        """As the sampling does, then a scrape."""
        self.metrics.observe_catalogue(self.keeper.catalogue)
        return Scrape(self.metrics.render()[0].decode())

    def shown(self, name: str) -> dict[str, float]:
        return dict(self.see().by(name, "model"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_promised_bundle(tmp_path / "b" / "a", "first", 20.0)
    write_promised_bundle(tmp_path / "b" / "z", "second", 30.0)
    return tmp_path / "b"


@pytest.fixture
def watched(root: Path, tmp_path: Path) -> Iterator[Watched]:
    made = Watched(root, tmp_path / "state")
    with closing(made.keeper):
        yield made


def test_what_is_loaded_is_shown_with_its_promise(watched: Watched) -> None:
    now = watched.see()
    assert now.by("restore_budget_seconds", "target") == {TARGET: 0.03}  # of both, the last
    assert now.by("restore_budget_seconds", "model") == {"first": 0.02, "second": 0.03}
    assert now.by("restore_promised_tile_seconds", "model") == pytest.approx(
        dict.fromkeys(("first", "second"), PROMISED_MS / 1000)
    )
    assert now.by("restore_promise_info", "promised_target") == {TARGET: 1}
    assert now.by("restore_promise_info", "device") == {"made up": 1}
    assert now.by("restore_model_info", "target") == {TARGET: 1}
    assert now.sum("restore_bundles_refused") == 0
    assert now.by("restore_drift_ratio", "model") == {}  # nothing has run yet


def test_drift_follows_what_runs(watched: Watched) -> None:
    drift = watched.slow_down("first")
    assert watched.shown("restore_drift_ratio") == {"first": drift}


def test_what_is_unloaded_says_nothing_any_more(watched: Watched) -> None:
    watched.slow_down("first")
    assert "first" in watched.shown("restore_drift_ratio")
    watched.keeper.unload("first")
    for name in OF_MODELS:
        assert "first" not in watched.shown(name), name
    assert watched.shown("restore_model_info") == {"first": 0, "second": 1}
    watched.keeper.load("first")
    assert watched.shown("restore_model_info") == {"first": 1, "second": 1}
    assert watched.shown("restore_budget_seconds") == {"first": 0.02, "second": 0.03}
    assert watched.shown("restore_drift_ratio") == {}  # its new engine has not run


def test_the_check_above_can_fail(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.slow_down("first")
    watched.see()
    monkeypatch.setattr("serving.metrics.standing.ABSENT", 0.0)
    watched.keeper.unload("first")
    assert watched.shown("restore_drift_ratio") == {"first": 0.0}


def test_a_look_at_an_old_catalogue_does_not_last(watched: Watched) -> None:
    # The event loop may have read the catalogue just before the keeper's thread replaced it.
    watched.slow_down("first")
    old = watched.keeper.catalogue
    watched.keeper.unload("first")
    watched.metrics.observe_catalogue(old)
    assert "first" not in watched.shown("restore_drift_ratio")


def test_a_new_version_has_its_own_promise(watched: Watched, root: Path) -> None:
    watched.slow_down("first")
    assert "first" in watched.shown("restore_drift_ratio")
    records = (latency(50.0, target="cpu-onnxruntime-fp32-4t", ms=5.0),)
    write_known_bundle(root / "a", "first", "denoise", tile=SIDE, latency=records, gain=0.5)
    assert watched.keeper.reload().swapped == ("first",)
    now = watched.see()
    assert now.by("restore_budget_seconds", "model")["first"] == 0.05
    assert now.by("restore_promised_tile_seconds", "model")["first"] == pytest.approx(0.005)
    assert now.by("restore_drift_ratio", "model") == {}
    of_first = [dict(labels) for name, labels in now.values if name == "restore_promise_info"]
    promised = {labels["promised_target"] for labels in of_first if labels["model"] == "first"}
    assert promised == {"cpu-onnxruntime-fp32-4t"}
    versions = [value for (name, labels), value in now.values.items() if name == "restore_model_info"]
    assert sorted(versions) == [0, 1, 1]


def test_one_without_records_after_one_with_them_keeps_nothing_of_it(watched: Watched, root: Path) -> None:
    write_known_bundle(root / "a", "first", "denoise", tile=SIDE)
    watched.keeper.reload()
    for name in OF_MODELS[:-1]:
        assert "first" not in watched.shown(name), name


def test_a_bundle_that_cannot_be_served_is_counted(watched: Watched, root: Path) -> None:
    (root / "z" / "model.onnx").write_bytes(b"broken")
    watched.keeper.reload()
    assert watched.see().sum("restore_bundles_refused") == 1
    assert watched.shown("restore_model_info")["second"] == 1  # the version before still answers


WORKER = """
import sys
from serving.metrics import Metrics
from serving.metrics.family import ABSENT
metrics = Metrics(int(sys.argv[1]))
drift = lambda value: metrics.drift.labels("m", "t").set(value)
for line in sys.stdin:
    exec(line)
    print(metrics.render()[0].decode())
    print("# END", flush=True)
"""


class Worker:
    def __init__(self, folder: Path, number: int) -> None:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
        command = [sys.executable, "-c", WORKER, str(number)]
        self._process = subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def do(self, line: str) -> Scrape:
        """What it shows, of all workers, after a line of Python."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        lines = []
        while (read := self._process.stdout.readline()) != "# END\n":
            assert read, "the worker has ended"
            lines.append(read)
        return Scrape("".join(lines))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Worker]]:
    with ExitStack() as stack:

        def one(number: int) -> Worker:
            worker = Worker(tmp_path, number)
            stack.callback(worker.kill)
            return worker

        yield one


def test_over_workers_what_is_absent_never_hides_what_is_there(start: Callable[[int], Worker]) -> None:
    first, second = start(1), start(2)
    assert first.do("drift(1.5)").sum("restore_drift_ratio") == 1.5
    # In whichever of the two files the value is: a number that is none would hide it in one of them.
    assert second.do("drift(ABSENT)").sum("restore_drift_ratio") == 1.5
    first.do("drift(ABSENT)")
    assert second.do("drift(0.5)").sum("restore_drift_ratio") == 0.5
    gone = second.do("drift(ABSENT)")
    assert "restore_drift_ratio" not in gone.text
    assert gone.sum("restore_bundles_refused") == 0
    # A worker that never had jobs shows none; one that has shows the store that all share.
    assert "restore_job_bytes " not in gone.text
    assert first.do("metrics.begin_jobs(['derain'], 10)").sum("restore_job_bytes_capacity") == 10


def test_a_killed_worker_leaves_its_counts_and_none_of_its_gauges(start: Callable[[int], Worker]) -> None:
    first, second = start(1), start(2)
    first.do("drift(9); metrics.late(); metrics.decided('admitted')")
    first.kill()
    left = second.do("metrics.late()")
    assert left.sum("restore_late_total") == 2
    assert left.sum("restore_admission_decisions_total", decision="admitted") == 1
    assert "restore_drift_ratio" not in left.text
