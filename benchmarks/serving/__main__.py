"""`python -m benchmarks.serving`: the service beside the bare loop, FastAPI and LitServe, and under too much load.

Everything is on this machine, over the loopback address; contestants take turns in random order. Goals are printed
beside what was found. It ends after `--minutes`, however fast the machine is.
"""

import argparse
import contextlib
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Row, write_results
from benchmarks.serving.contestants import OURS, RIVALS, Place, Service, StartError, bare_loop, service
from benchmarks.serving.overload import overload
from benchmarks.serving.phases import FULL, SMALL, Bench, one_caller, repeat, saturation
from benchmarks.serving.processes import Machine, wait_until_quiet
from benchmarks.serving.record import Cell, Record
from benchmarks.serving.report import tables, tables_of
from benchmarks.serving.works import FORMATS, write_bundles, write_works

SHARES = {"overhead": 0.07, "latency": 0.3, "saturation": 0.35, "overload": 0.28}
"""Of the time; a phase that is left out leaves its share to nobody."""
START_SHARE = 0.15
IDLE = 0.95


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--phases", default=",".join(SHARES), help="some of %(default)s")
    parser.add_argument("--rivals", default=",".join(RIVALS), help="some of %(default)s, or nothing")
    parser.add_argument("--formats", default=",".join(FORMATS), help="some of %(default)s")
    parser.add_argument("--minutes", type=float, default=9.5, help="of everything")
    parser.add_argument("--small", action="store_true", help="one short round each, nothing is written")
    parser.add_argument("--target", default="cpu-onnxruntime-fp32-1t", help="of every contestant")
    parser.add_argument("--deadline-times", type=float, default=4.0, help="deadline / bare work, under overload")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet-s", type=float, default=30.0, help="wait this long for an idle machine")
    parser.add_argument("--notes", default="", help="what else the machine was doing")
    asked = parser.parse_args(arguments)
    for name, known in (("phases", SHARES), ("rivals", RIVALS), ("formats", FORMATS)):
        chosen = [value for value in getattr(asked, name).split(",") if value]
        if unknown := sorted(set(chosen) - set(known)):
            parser.error(f"unknown {name} {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(asked, name, [value for value in known if value in chosen])
    return asked


def measure(asked: argparse.Namespace) -> tuple[list[Row], str]:
    """Run the phases; rows, and what to know about them.

    Raises:
        StartError: Our own service does not start. A rival's that does not is a note.
    """
    notes = [asked.notes] if asked.notes else []
    record = Record()
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as scratch, contextlib.ExitStack() as running:
        folder = Path(scratch)
        place = Place(write_bundles(folder / "bundles", asked.zoo), asked.target, folder)
        works = write_works(folder, asked.zoo, asked.formats)
        idle = wait_until_quiet(IDLE, asked.quiet_s)
        bare = running.enter_context(bare_loop(place))
        services: list[Service] = [running.enter_context(service(OURS, place))]
        for rival in asked.rivals:
            try:
                services.append(running.enter_context(service(rival, place)))
            except StartError as error:
                print(error)
                notes.append(f"{rival} did not start: {str(error).splitlines()[0]}")
                record.add(Cell("machine", "", rival, "", "did not start"), 1)
        bench = Bench(bare, services, works, SMALL if asked.small else FULL, record, random.Random(asked.seed))
        start = Machine.now()
        seconds = 0.0 if asked.small else 60 * asked.minutes * (1 - START_SHARE)
        for phase in asked.phases:
            rounds = _run(bench, phase, SHARES[phase] * seconds, asked.deadline_times)
            print(f"{phase}: {rounds} rounds", flush=True)
        steal = 100 * Machine.now().shares_since(start).get("steal", 0.0)
    record.add(Cell("machine", "", "", "", "idle before the start %"), 100 * idle)
    record.add(Cell("machine", "", "", "", "stolen by the hypervisor %"), steal)
    state = "quiet" if idle >= IDLE else "not quiet"
    notes.append(f"The machine was {state} before the start ({100 * idle:.0f} % idle); {steal:.1f} % was stolen.")
    return record.rows(), " ".join(notes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write, print."""
    asked = parse(arguments)
    rows, notes = measure(asked)
    if asked.small:
        print(f"\n{tables_of(rows)}\n\n{notes} Too short to say anything; nothing was written.")
        return
    path = write_results("serving", "make bench-serving", rows, notes)
    print("\n" + tables(json.loads(path.read_text())))


def _run(bench: Bench, phase: str, seconds: float, deadline_times: float) -> int:
    rounds = {
        "overhead": lambda: one_caller(bench, phase, ("nothing",)),
        "latency": lambda: one_caller(bench, phase, ("short", "long")),
        "saturation": lambda: saturation(bench),
        "overload": lambda: overload(bench, bench.services[0], deadline_times),
    }
    return repeat(rounds[phase], seconds)


if __name__ == "__main__":
    main()
