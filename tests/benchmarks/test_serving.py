"""The arithmetic and the load generator of the serving benchmark; its times are its own."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from benchmarks.results import Row
from benchmarks.serving import overload, phases
from benchmarks.serving.__main__ import measure, parse
from benchmarks.serving.contestants import BARE, OURS
from benchmarks.serving.goals import judge
from benchmarks.serving.load import LoadPlan, run
from benchmarks.serving.processes import Machine, stop_tree, tree_cpu_seconds, tree_memory_bytes
from benchmarks.serving.record import Cell, Record, percentile
from benchmarks.serving.report import tables, tables_of
from benchmarks.serving.restore import Workshop, format_of
from benchmarks.serving.works import NOTHING_ROUTE, write_bundles, write_works

ZOO = Path(__file__).parents[2] / "zoo"


def recorded(p50_ratio: float = 1.05, refusal_ms: float = 8.0) -> list[Row]:
    record = Record()
    for round_ in range(3):
        for work in ("nothing jpeg", "short jpeg"):
            phase = "overhead" if work.startswith("nothing") else "latency"
            record.pool(Cell(phase, work, BARE, "", phases.MS), [30.0, 31.0, 32.0])
            record.add(Cell(phase, work, OURS, "1 caller", phases.CPU), 1.5 + 0.1 * round_)
            record.add(Cell(phase, work, OURS, "1 caller", phases.P50_RATIO), p50_ratio)
        for callers in (4, 16):
            cell = Cell("saturation", "short jpeg", OURS, f"{callers} callers", phases.THROUGHPUT)
            record.add(cell, 0.95 + 0.01 * callers)
        for times in overload.TIMES_CAPACITY:
            load = f"{times} x capacity"
            record.add(Cell("overload", "short jpeg", OURS, load, overload.GOODPUT), 0.97)
            record.add(Cell("overload", "short jpeg", OURS, load, overload.REFUSAL_P99), refusal_ms)
            record.add(Cell("overload", "short jpeg", OURS, load, overload.ADMITTED_P99), 0.8)
    return record.rows()


def verdicts(rows: list[Row]) -> dict[str, str]:
    return {str(row["goal"]).split(",")[0].split(" ")[0]: str(row["met"]) for row in judge(rows)}


def test_goals_are_met_or_not_or_were_not_measured() -> None:
    found = verdicts(recorded())
    assert found["p50"] == found["throughput"] == found["goodput"] == found["refusals"] == "met"
    assert found["running"] == "not measured"
    # The planted faults: a service that is too slow, and one that refuses too late.
    assert verdicts(recorded(p50_ratio=1.2))["p50"] == "not met"
    assert verdicts(recorded(refusal_ms=50.0))["refusals"] == "not met"


def test_work_that_is_too_short_does_not_count_for_the_ratio() -> None:
    rows = [
        {**row, "value": 10.0} if row["server"] == BARE and row["work"] == "short jpeg" else row
        for row in recorded(1.5)
    ]
    by_goal = {str(row["goal"]): row["met"] for row in judge(rows)}
    assert [met for goal, met in by_goal.items() if goal.startswith("p50")] == ["not measured"]


def test_the_tables_are_made_from_a_result_file() -> None:
    content = {
        "rows": recorded(),
        "notes": "Noisy.",
        "machine": {"cores": 2, "device": "a processor"},
        "date": "2026-01-01",
        "command": "make bench-serving",
    }
    text = tables(content)
    assert "| short jpeg | 31.00 | 1.05 (1.05-1.05) | 1.60 (1.50-1.70) |" in text
    assert text.index("| 4 callers") < text.index("| 16 callers") < text.index("| 4 x capacity")
    assert text.endswith("`make bench-serving`) Noisy.")
    assert "| nothing jpeg | 31.00 | - |" in text
    assert "(not measured)" in tables_of([row for row in recorded() if row["phase"] != "overload"])


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50.0, 99.0, 100.0)
    assert percentile([3.0], 99) == 3.0


def test_options_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(["--phases", "overload,latency", "--rivals", ""]).phases == ["latency", "overload"]
    with pytest.raises(SystemExit):
        parse(["--phases", "latency,speed"])
    assert "unknown phases speed" in capsys.readouterr().err


class Answerer:
    """An HTTP server of a few lines, that counts connections; `answer` gives the bytes of each answer."""

    def __init__(self, answer: Callable[[int], bytes], delay_s: float = 0.0) -> None:
        self.connections = self.requests = 0
        self._answer, self._delay_s = answer, delay_s

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            number, self.requests = self.requests, self.requests + 1
            await asyncio.sleep(self._delay_s)
            answer = self._answer(number)
            writer.write(answer)
            if not answer or b"close" in answer:
                break
        writer.close()


def generate(answerer: Answerer, tmp_path: Path, **plan: object) -> list[dict[str, object]]:
    body = tmp_path / "body"
    body.write_bytes(b"picture")

    async def main() -> list[dict[str, object]]:
        def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> asyncio.Task[None]:
            async def serve() -> None:
                try:
                    await answerer(reader, writer)
                except (asyncio.IncompleteReadError, ConnectionError):
                    writer.close()

            return asyncio.create_task(serve())

        server = await asyncio.start_server(quiet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        result = await run(LoadPlan(port, "/v1/derain", str(body), {}, **plan))  # type: ignore[arg-type]
        server.close()
        return list(result["calls"])

    return asyncio.run(main())


OK = b"HTTP/1.1 200 OK\r\nServer-Timing: decode;dur=1.5, inference;dur=20.0\r\nContent-Length: 2\r\n\r\nhi"
REFUSED = b"HTTP/1.1 429 Too Many\r\nConnection: close\r\ncontent-length: 1\r\n\r\nx"


def test_callers_keep_their_connections(tmp_path: Path) -> None:
    answerer = Answerer(lambda _: OK)
    calls = generate(answerer, tmp_path, concurrency=3, requests=30)
    assert (len(calls), answerer.requests, answerer.connections) == (30, 30, 3)
    assert all(call["status"] == 200 for call in calls)
    assert calls[0]["timing"] == {"decode": 1.5, "inference": 20.0}


def test_refusals_broken_connections_and_calls_given_up_are_told_apart(tmp_path: Path) -> None:
    calls = generate(Answerer(lambda n: (OK, REFUSED, b"")[n % 3]), tmp_path, concurrency=1, requests=6)
    assert [call["status"] for call in calls] == [200, 429, 0] * 2
    calls = generate(Answerer(lambda _: OK, delay_s=30.0), tmp_path, concurrency=1, requests=1, timeout_s=0.05)
    assert [call["status"] for call in calls] == [-1]


def test_arrivals_do_not_wait_for_answers(tmp_path: Path) -> None:
    slow = Answerer(lambda _: OK, delay_s=0.5)
    calls = generate(slow, tmp_path, rate=100.0, seconds=0.3, seed=1)
    # In a closed loop no second request would have been sent by then.
    assert 15 <= len(calls) <= 50
    assert slow.connections == len(calls)
    again = generate(Answerer(lambda _: OK), tmp_path, rate=100.0, seconds=0.3, seed=1)
    assert len(again) == len(calls)


def test_processor_time_of_children_is_counted() -> None:
    before, machine = tree_cpu_seconds(os.getpid()), Machine.now()
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert tree_cpu_seconds(os.getpid()) - before >= 0.45
        assert tree_memory_bytes(child.pid) > 2**20
        child.kill()
    shares = Machine.now().shares_since(machine)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["idle"] < 1.0


def test_nothing_is_left_of_a_service_that_leaves_its_children_behind() -> None:
    family = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    )
    command = [sys.executable, "-c", f"{family}; print(p.pid, flush=True); time.sleep(600)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        stop_tree(process)
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert (gone, alive) == ([child], [])


def test_everybody_does_the_same_work(tmp_path: Path) -> None:
    bundles, works = write_bundles(tmp_path / "bundles", ZOO), write_works(tmp_path, ZOO)
    assert {work.name for work in works} >= {"nothing jpeg", "short png", "long jpeg"}
    data = next(Path(work.body).read_bytes() for work in works if work.name == "nothing png")
    workshop = Workshop({NOTHING_ROUTE: bundles[NOTHING_ROUTE]}, "cpu-onnxruntime-fp32-1t")
    assert format_of(workshop.restore(NOTHING_ROUTE, data, "jpeg")) == "jpeg"
    assert format_of(workshop.restore(NOTHING_ROUTE, data, "png")) == "png"


@pytest.mark.slow
def test_the_smallest_setting_runs_from_end_to_end() -> None:
    rows, notes = measure(parse(["--small", "--quiet-s", "1", "--formats", "jpeg"]))
    wrong = [row for row in rows if row["measure"] in ("not answered", phases.OTHER_ANSWERS) and row["high"] != 0]
    assert wrong == []
    assert {row["phase"] for row in rows} == {"overhead", "latency", "saturation", "overload", "machine"}
    assert {row["server"] for row in rows} >= {BARE, OURS, "FastAPI"}
    assert len({tuple(row) for row in rows}) == 1
    assert "% idle" in notes
    assert tables_of(rows).count("not measured") <= 2
