"""A scheduler with its threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.scheduling import Scheduler


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler(slots=1, cores=2, max_waiting=1000, picture_bytes=2**30)
    yield made
    made.close(wait_s=10)
    assert made.stats.running == 0
