"""Other processes of this machine: whether they live, and whether they are still the ones that were meant.

A process number is given to another process when its own has ended. Linux tells when a process was started, so number
and start together name one process for good; a system without /proc leaves the number alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_MACHINE_START = re.compile(r"^btime (\d+)$", re.MULTILINE)
# Ended, and not yet waited for by their parent: BentoML's supervisor takes up to ten seconds.
_ENDED = frozenset({"Z", "X"})


@dataclass(frozen=True)
class ProcessState:
    """What `/proc/<pid>/stat` says of a process that has not ended.

    Attributes:
        started_ticks: When it was started, in clock ticks after the machine's own start.
        cpu_ticks: Processor time so far, its own and the system's for it, in clock ticks.
        resident_pages: Memory that it holds, in pages.
    """

    started_ticks: int
    cpu_ticks: int
    resident_pages: int


@dataclass(frozen=True)
class ProcessId:
    """One process, and never another one that got its number later.

    Attributes:
        pid: Its number.
        started_ticks: See `ProcessState`; None where the system does not tell.
    """

    pid: int
    started_ticks: int | None

    @classmethod
    def own(cls) -> ProcessId:
        """The process that asks."""
        state = read_state(os.getpid())
        return cls(os.getpid(), None if state is None else state.started_ticks)

    def start_time(self) -> float | None:
        """Seconds since 1970 at which it was started, by the clock of now; None where the system does not tell."""
        machine = _MACHINE_START.search((_PROC / "stat").read_text()) if tells_of_processes() else None
        if machine is None or self.started_ticks is None:
            return None
        return int(machine[1]) + self.started_ticks / os.sysconf("SC_CLK_TCK")

    def lives(self) -> bool:
        """Whether this very process has not ended."""
        if self.started_ticks is None:
            return is_alive(self.pid)
        state = read_state(self.pid)
        return state is not None and state.started_ticks == self.started_ticks


def tells_of_processes() -> bool:
    """Whether this system has /proc as Linux has it."""
    return (_PROC / "self" / "stat").exists()


def read_state(pid: int) -> ProcessState | None:
    """Reads a process's state; None if it has ended, or the system does not tell."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, and may hold anything; proc(5) numbers fields from 1.
    fields = text.rpartition(")")[2].split()
    state, user, system, started, resident = (fields[number - 3] for number in (3, 14, 15, 22, 24))
    if state in _ENDED:
        return None
    return ProcessState(int(started), int(user) + int(system), int(resident))


def is_alive(pid: int) -> bool:
    """Whether a process of this number, of whatever user, has not ended."""
    if tells_of_processes():
        return read_state(pid) is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
