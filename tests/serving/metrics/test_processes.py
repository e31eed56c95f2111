from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from serving.metrics.folder import Worker
from serving.metrics.processes import ProcessCollector, read_figures
from serving.processes import ProcessId, tells_of_processes

pytestmark = pytest.mark.skipif(not tells_of_processes(), reason="this system has no /proc")


def test_figures_are_those_that_psutil_reads() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        other = psutil.Process(child.pid)
        state = ProcessId(child.pid, round((other.create_time() - psutil.boot_time()) * os.sysconf("SC_CLK_TCK")))
        before = read_figures(state)
        child.communicate(b"\n")
    assert before is not None
    assert read_figures(state) is None  # it has ended
    own = psutil.Process()
    figures = read_figures(ProcessId.own())
    assert figures is not None
    assert figures.resident_bytes == pytest.approx(own.memory_info().rss, rel=0.05)
    times = own.cpu_times()
    assert figures.cpu_seconds == pytest.approx(times.user + times.system, abs=0.5)
    assert figures.open_fds == pytest.approx(own.num_fds(), abs=1)  # one is the folder that was being read
    assert figures.max_fds == own.rlimit(psutil.RLIMIT_NOFILE)[0]
    assert ProcessId.own().start_time() == pytest.approx(own.create_time(), abs=1)


def test_only_workers_that_live_have_figures() -> None:
    own = Worker.own()
    assert own.process.started_ticks is not None
    another = own.model_copy(update={"process": ProcessId(os.getpid(), own.process.started_ticks - 1)})
    families = list(ProcessCollector(lambda: {"1": own, "2": another}).collect())
    assert len(families) == 5
    assert [sample.labels for family in families for sample in family.samples] == [{"worker": "1"}] * 5


def test_without_workers_there_are_no_series() -> None:
    assert not any(family.samples for family in ProcessCollector(dict).collect())
