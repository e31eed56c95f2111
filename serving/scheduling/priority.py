"""Lower priority for the threads that compute, so that the event loop answers at once on a saturated machine."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STEP = 3
"""Steps below the event loop. Linux gives a thread about 1.25 times less of a contended core for each."""

_LOWEST = 19


def lower_priority(step: int = STEP) -> bool:
    """Lowers the calling thread, for good; threads that it starts inherit it.

    Returns:
        Whether it was done: only Linux knows priorities of threads, elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return False
    thread = threading.get_native_id()
    nice = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, min(nice + step, _LOWEST))
    return True


def call_lowered(work: Callable[[], T]) -> T:
    """Calls `work` on a thread of its own with lower priority and waits; so engines opened by it run their pools lower.

    Raises:
        Exception: Whatever `work` raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        lower_priority()
        try:
            results.append(work())
        except BaseException as error:  # handed on to the caller below
            errors.append(error)

    thread = threading.Thread(target=call, name="lowered")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
