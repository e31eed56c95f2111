from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from serving.processes import ProcessId, is_alive, read_state, tells_of_processes

linux = pytest.mark.skipif(not tells_of_processes(), reason="this system has no /proc")
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_is_alive_until_it_has_ended_and_was_waited_for() -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)  # of another user, where the tests do not run as root
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_alive(child.pid)


@linux
def test_a_killed_process_is_dead_before_its_parent_has_looked() -> None:
    child = subprocess.Popen(SLEEPER)
    try:
        assert is_alive(child.pid)
        child.kill()
        limit = time.monotonic() + 30
        while is_alive(child.pid):
            assert time.monotonic() < limit
            time.sleep(0.01)
        os.kill(child.pid, 0)  # its number is still taken: a look at the number alone would say that it lives
    finally:
        child.kill()
        child.wait()


@linux
def test_a_process_with_the_number_of_another_is_not_the_other() -> None:
    own = ProcessId.own()
    assert own.pid == os.getpid()
    assert own.started_ticks is not None
    assert own.lives()
    assert not ProcessId(own.pid, own.started_ticks - 1).lives()


def test_where_the_system_tells_no_start_the_number_counts() -> None:
    assert ProcessId(os.getpid(), None).lives()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not ProcessId(child.pid, None).lives()


@linux
def test_a_programs_name_may_hold_parentheses_and_spaces() -> None:
    rename = "import pathlib, sys; pathlib.Path('/proc/self/comm').write_text('a) R (b c'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        state = read_state(child.pid)
        assert state is not None
        own = read_state(os.getpid())
        assert own is not None
        assert state.started_ticks >= own.started_ticks
        assert state.resident_pages > 0
        child.communicate(b"\n")
