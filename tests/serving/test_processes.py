from __future__ import annotations

import os
import subprocess
import sys

from serving.processes import is_alive


def test_a_process_is_alive_until_it_has_ended_and_was_waited_for() -> None:
    assert is_alive(os.getpid())
    assert is_alive(1)  # of another user, where the tests do not run as root
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not is_alive(child.pid)
