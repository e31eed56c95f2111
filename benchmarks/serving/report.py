"""The tables of `results/serving.json`, for the README and for the end of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.results import Row, markdown
from benchmarks.serving import overload, phases
from benchmarks.serving.contestants import BARE, OURS, RIVALS
from benchmarks.serving.goals import judge
from benchmarks.serving.works import SIDES

SERVERS = (OURS, *RIVALS)


def tables(content: Mapping[str, Any]) -> str:
    """Markdown of a result file: its tables, and how it was made."""
    notes = f" {content['notes']}" if content["notes"] else ""
    machine = content["machine"]
    said = (
        "Medians over rounds in turns, in brackets the smallest and the largest; "
        f"{machine['cores']} cores of {machine['device']}, which server and load generator share; {content['date']}; "
        f"`{content['command']}`"
    )
    return f"{tables_of(content['rows'])}\n\n({said}){notes}"


def tables_of(rows: Sequence[Row]) -> str:
    """Markdown of rows: goals, one caller, many callers, too many."""
    blocks = (
        markdown(judge(rows)),
        "One caller at a time: p50 in ms of the bare loop, and times of it; CPU that the server adds, in ms a request.",
        _table(_one_caller(rows)),
        "Many callers: requests a second of the bare loop, and the services' share of that.",
        _table(_many_callers(rows)),
        "More arrivals than it can answer, each with a deadline.",
        _table(_overload(rows)),
    )
    return "\n\n".join(blocks)


def _table(rows: Sequence[Row]) -> str:
    return markdown(rows) if rows else "(not measured)"


def _one_caller(rows: Sequence[Row]) -> list[Row]:
    found = list[Row]()
    for work in _works(row for row in rows if row["phase"] in ("overhead", "latency")):
        line: dict[str, str | int | float | None] = {
            "work": work,
            "bare p50 ms": _shown(rows, work, BARE, "", f"p50 {phases.MS}", spread=False),
        }
        for server in SERVERS:
            if not work.startswith("nothing"):
                line[f"{server}, times"] = _shown(rows, work, server, "1 caller", phases.P50_RATIO)
            else:
                line[f"{server}, times"] = "-"
            line[f"{server}, CPU ms"] = _shown(rows, work, server, "1 caller", phases.CPU)
        found.append(line)
    return found


def _many_callers(rows: Sequence[Row]) -> list[Row]:
    chosen = [row for row in rows if row["phase"] == "saturation"]
    return [
        {
            "work": work,
            "load": load,
            "bare": _shown(rows, work, BARE, "", "per second", spread=False),
            **{server: _shown(rows, work, server, load, phases.THROUGHPUT) for server in SERVERS},
        }
        for work in _works(chosen)
        for load in _loads(chosen, work)
    ]


def _overload(rows: Sequence[Row]) -> list[Row]:
    measures = (
        overload.GOODPUT,
        "refused %",
        overload.REFUSAL_P50,
        overload.REFUSAL_P99,
        overload.ADMITTED_P99,
        "answered late %",
        "504 %",
        overload.RUNNING,
    )
    chosen = [row for row in rows if row["phase"] == "overload"]
    return [
        {
            "work": work,
            "deadline ms": _shown(rows, work, OURS, "", "deadline, ms", spread=False),
            "arrivals": load,
            **{measure: _shown(rows, work, OURS, load, measure) for measure in measures},
        }
        for work in _works(chosen)
        for load in _loads(chosen, work)
    ]


def _shown(rows: Sequence[Row], work: str, server: str, load: str, measure: str, *, spread: bool = True) -> str:
    wanted = (work, server, load, measure)
    for row in rows:
        if (row["work"], row["server"], row["load"], row["measure"]) == wanted:
            text = f"{row['value']:.2f}"
            return f"{text} ({row['low']:.2f}-{row['high']:.2f})" if spread and row["values"] != 1 else text
    return "-"


def _works(rows: Iterable[Row]) -> list[str]:
    """Their works, the smallest first."""
    kinds = list(SIDES)
    return sorted({str(row["work"]) for row in rows}, key=lambda name: (kinds.index(name.split()[0]), name))


def _loads(rows: Iterable[Row], work: str) -> list[str]:
    """The loads of a work that begin with a number, by that number."""
    loads = {str(row["load"]) for row in rows if row["work"] == work and row["load"]}
    return sorted(loads, key=lambda load: int(load.split()[0]))
