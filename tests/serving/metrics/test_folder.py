from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.metrics.folder import MetricsFolder, Worker
from serving.processes import ProcessId, tells_of_processes


def leave_note(folder: Path, label: str, process: ProcessId) -> None:
    (folder / f"{label}.worker").write_text(Worker(process=process, started_s=1.0).model_dump_json())


def names(folder: MetricsFolder) -> list[str]:
    return [Path(file).name for file in folder.files()]


def write(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).write_bytes(b"x")


def test_a_worker_that_has_claimed_its_place_lives(tmp_path: Path) -> None:
    folder = MetricsFolder(tmp_path)
    assert folder.claim(2) == "2"
    assert folder.living() == {"2": Worker.own()}
    assert folder.claim(2) == "2"  # its own place is no other's


@pytest.mark.skipif(not tells_of_processes(), reason="this system has no /proc")
def test_a_process_with_the_number_of_a_dead_worker_is_no_worker(tmp_path: Path) -> None:
    own = ProcessId.own()
    assert own.started_ticks is not None
    leave_note(tmp_path, "1", ProcessId(own.pid, own.started_ticks - 1))
    leave_note(tmp_path, "2", own)
    assert list(MetricsFolder(tmp_path).living()) == ["2"]


def test_live_gauges_of_the_dead_do_not_count_and_counters_do(tmp_path: Path) -> None:
    leave_note(tmp_path, "2", ProcessId.own())
    write(tmp_path, *(f"{kind}_{worker}.db" for kind in ("counter", "histogram", "gauge_livesum") for worker in (1, 2)))
    assert names(MetricsFolder(tmp_path)) == [
        "counter_1.db",
        "counter_2.db",
        "gauge_livesum_2.db",
        "histogram_1.db",
        "histogram_2.db",
    ]


def test_a_successor_begins_without_the_gauges_of_the_dead(tmp_path: Path) -> None:
    leave_note(tmp_path, "1", ProcessId(os.getpid(), 1))
    write(tmp_path, "counter_1.db", "gauge_livesum_1.db", "gauge_livemax_1.db", "gauge_livesum_11.db")
    MetricsFolder(tmp_path).claim(1)
    assert sorted(file.name for file in tmp_path.glob("*.db")) == ["counter_1.db", "gauge_livesum_11.db"]


def test_the_place_of_a_living_worker_is_left_to_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leave_note(tmp_path, "1", ProcessId(os.getppid(), None))
    write(tmp_path, "gauge_livesum_1.db")
    folder = MetricsFolder(tmp_path)
    label = f"1-{os.getpid()}"
    assert folder.claim(1) == label
    assert set(folder.living()) == {"1", label}
    assert names(folder) == ["gauge_livesum_1.db"]
    assert f"process {os.getppid()} has that place" in caplog.text


def test_notes_that_are_none_are_no_workers(tmp_path: Path) -> None:
    (tmp_path / "1.worker").write_text("")
    (tmp_path / "2.worker").write_text('{"pid": 1}')
    folder = MetricsFolder(tmp_path)
    assert folder.living() == {}
    assert folder.claim(1) == "1"
    assert MetricsFolder(tmp_path / "wiped").living() == {}
