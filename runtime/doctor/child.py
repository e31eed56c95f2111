"""Looking at what may end a process, from a safe distance: in a child, with a time limit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["SECONDS", "ask_child"]

SECONDS = 90.0
"""A cold import of a large package from a slow disk takes half a minute."""


def ask_child(program: str, *arguments: str, seconds: float = SECONDS) -> dict[str, Any] | str:
    """Run one of the programs beside this file on the packages that this process sees.

    Args:
        program: `probe` or `module_probe`.
        arguments: The question, see there.
        seconds: How long to wait.

    Returns:
        Its answer, or in words what became of it, to follow a subject: "ended with signal SIGSEGV".
    """
    # -P: a folder named onnxruntime in the working directory is no package of ours.
    command = [sys.executable, "-P", str(Path(__file__).with_name(f"{program}.py")), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not answer within {seconds:g} s"
    except OSError as error:
        return f"could not be asked ({error})"
    if done.returncode == 0:
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            answer = None
        return answer if isinstance(answer, dict) else f"answered {done.stdout[:80]!r}"
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode < 0:
        return f"ended with signal {_signal_name(-done.returncode)} ({last})"
    return f"ended with status {done.returncode} ({last})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return str(number)
