"""The peak memory of a piece of code, in a process of its own."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Not ru_maxrss: a child starts with the one of its parent, here of a whole run of tests.
_PEAK = """
def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""


def peak_growth_mb(preparation: str, work: str, *arguments: str) -> float:
    """By how many MiB `work` raises the peak that `preparation` has left; both are Python and see `sys.argv`."""
    code = f"{_PEAK}\n{preparation}\nbefore = peak_mb()\n{work}\nprint(peak_mb() - before)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout)
