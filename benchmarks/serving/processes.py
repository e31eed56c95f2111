"""Processor time of process trees, and what the machine did meanwhile."""

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def tree_cpu_seconds(pid: int) -> float:
    """Processor seconds that a process and all its living descendants have used so far."""
    return sum(_own_cpu_seconds(process) for process in _tree(pid))


def tree_memory_bytes(pid: int) -> int:
    """Resident bytes of a process and its descendants; pages that they share count for each."""
    return sum(process.memory_info().rss for process in _tree(pid))


@dataclass(frozen=True)
class Machine:
    """Ticks of all cores since boot, see proc(5)."""

    ticks: dict[str, int]

    @classmethod
    def now(cls) -> "Machine":
        """Read them."""
        line = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        return cls({name: int(value) for name, value in zip(_FIELDS, line, strict=False)})

    def shares_since(self, start: "Machine") -> dict[str, float]:
        """Shares of all cores' time since `start`, which sum to 1; `steal` is what the hypervisor gave to others."""
        spent = {name: self.ticks[name] - start.ticks[name] for name in self.ticks}
        total = max(1, sum(spent.values()))
        return {name: value / total for name, value in spent.items()}


def wait_until_quiet(idle: float, limit_s: float) -> float:
    """Wait until the machine was idle for a second, and say how idle it was in the last one.

    Args:
        idle: Share of all cores' time that has to be idle.
        limit_s: Gives up after this long; the caller reports the share.
    """
    end = time.monotonic() + limit_s
    while True:
        start = Machine.now()
        time.sleep(1.0)
        share = Machine.now().shares_since(start)["idle"]
        if share >= idle or time.monotonic() > end:
            return share


def stop_tree(process: subprocess.Popen[bytes], patience_s: float = 20.0) -> None:
    """Ask a process to end, then end it and what it has left behind: LitServe's workers outlive their parent."""
    try:
        tree = _tree(process.pid)
    except psutil.NoSuchProcess:
        tree = []
    process.terminate()
    try:
        process.wait(timeout=patience_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in tree:
        # A number that has been given to another process meanwhile is seen by psutil and left alone.
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _own_cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
