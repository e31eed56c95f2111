from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.models.shared_state import SILENT_S, Order, SharedState

Join = Callable[..., SharedState]


@pytest.fixture
def join(tmp_path: Path) -> Iterator[Join]:
    """One more worker at the same file."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(SharedState(tmp_path / "state", **options)))


def test_orders_reach_every_worker_in_turn(join: Join) -> None:
    one, other = join(), join()
    assert one.register() == (0, frozenset())
    numbers = [one.order("reload"), other.order("unload", "x"), one.order("load", "x")]
    assert other.orders_after(0) == [
        Order(numbers[0], "reload", ""), Order(numbers[1], "unload", "x"), Order(numbers[2], "load", "x"),
    ]  # fmt: skip
    assert [order.number for order in one.orders_after(numbers[0])] == numbers[1:]
    assert one.orders_after(numbers[-1]) == []


def test_who_comes_later_starts_from_what_was_decided(join: Join) -> None:
    one = join()
    one.order("unload", "x")
    one.order("unload", "x")
    last = one.order("unload", "y")
    assert join().register() == (last, {"x", "y"})
    one.order("load", "x")
    assert join().register() == (last + 1, {"y"})
    assert one.unloaded() == {"y"}


def test_what_is_decided_outlives_the_workers(tmp_path: Path) -> None:
    with closing(SharedState(tmp_path)) as state:
        number = state.order("unload", "x")
    with closing(SharedState(tmp_path)) as state:
        assert state.register() == (number, {"x"})
        assert state.order("reload") > number  # numbers never come again


def test_outcomes_name_who_is_still_at_it(join: Join) -> None:
    one, other, starting = join(), join(), join()
    for state in (one, other, starting):
        state.register()
    one.announce("a")
    other.announce("a")
    number = one.order("reload")
    order = Order(number, "reload", "")
    assert [outcome.state for outcome in one.outcomes(number)] == ["waiting", "waiting"]  # who starts is not waited for
    one.carried_out(order, {"loaded": ["x"]}, failed=False, digest="b")
    other.carried_out(order, {}, failed=True, digest="a")
    told = {outcome.worker: (outcome.state, outcome.told) for outcome in other.outcomes(number)}
    assert told == {one.worker: ("done", {"loaded": ["x"]}), other.worker: ("failed", {})}


def test_a_worker_that_serves_something_else_is_noticed(join: Join) -> None:
    one, other, third = join(), join(), join()
    for state in (one, other, third):
        state.register()
    assert not one.announce("a")
    assert not other.announce("a")
    assert third.announce("b")
    third.leave()
    assert not one.announce("a")


def test_silent_workers_are_not_waited_for_and_forgotten(join: Join) -> None:
    now = 1000.0
    one, other = join(clock=lambda: now), join(clock=lambda: now)
    one.register()
    other.register()
    one.announce("a")
    other.announce("a")
    assert len(one.outcomes(1)) == 2
    now += SILENT_S + 1
    one.beat()
    assert [outcome.worker for outcome in one.outcomes(1)] == [one.worker]
    now += SILENT_S + 1
    join(clock=lambda: now).register()
    assert one.outcomes(1) == []
    other.beat()  # it was only slow
    assert [outcome.worker for outcome in one.outcomes(1)] == [other.worker]


def test_a_worker_whose_process_ended_is_not_waited_for(join: Join, tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys; from serving.models.shared_state import SharedState; "
        "state = SharedState(pathlib.Path(sys.argv[1])); state.register(); state.announce('a'); "
        "print(len(state.outcomes(1)), flush=True); os._exit(9)"
    )
    state = join()
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "state")], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (9, "1"), result.stderr
    assert state.outcomes(1) == []


def test_old_orders_are_dropped(join: Join) -> None:
    state = join()
    numbers = [state.order("reload") for _ in range(150)]
    kept = [order.number for order in state.orders_after(0)]
    assert kept == numbers[-100:]


def test_workers_that_start_and_write_at_once_do_not_lose_anything(tmp_path: Path) -> None:
    count = 6
    for attempt in range(5):
        folder, gate = tmp_path / str(attempt), threading.Barrier(count)

        def work(number: int, folder: Path = folder, gate: threading.Barrier = gate) -> None:
            gate.wait()
            with closing(SharedState(folder)) as state:
                state.register()
                for each in range(5):
                    state.order("unload", f"{number}-{each}")
                    state.beat()

        with ThreadPoolExecutor(count) as pool:
            list(pool.map(work, range(count)))
        with closing(SharedState(folder)) as state:
            assert len(state.unloaded()) == len(state.orders_after(0)) == 5 * count


def test_a_file_that_is_damaged_or_a_folder_that_is_none_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "models.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(SettingsError, match="MILLISIGHT_STATE"):
        SharedState(tmp_path)
    with pytest.raises(SettingsError, match="MILLISIGHT_STATE"):
        SharedState(tmp_path / "models.sqlite")


def test_it_is_made_when_first_used(tmp_path: Path) -> None:
    with closing(SharedState(tmp_path / "not" / "there")) as state:
        assert state.register() == (0, frozenset())
    assert os.listdir(tmp_path / "not" / "there") == ["models.sqlite"]  # the log is folded in at the end
