"""`load`: a running service under the requests of strangers. Needs httpx, and no torch."""

import os
import re
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from millisight.choosing import API_KEY
from millisight.console import print_json, print_table, require
from runtime import MillisightError

if TYPE_CHECKING:
    from monitoring.load import Answer, LoadPlan, Summary

SIZES = "256x256,512x384,640x480,1024x768"
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
_TASKS = ("derain", "denoise", "super-resolution")


class NothingAnsweredError(MillisightError):
    """Not one request of a load was answered."""


def load(
    url: Annotated[str, typer.Argument(help="address of the service")] = "http://127.0.0.1:3000",
    rate: Annotated[
        float | None, typer.Option(min=0.001, max=1000, help="requests a second, at random moments; default 2")
    ] = None,
    callers: Annotated[
        int | None,
        typer.Option(
            "--callers", "--concurrency", min=1, max=512, help="instead of a rate: callers who wait for answers"
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=7 * 86_400, help="nothing is sent after this long")] = 60.0,
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="nothing is sent after so many")] = 1_000_000,
    task: Annotated[list[str] | None, typer.Option(help="again for another one; default: all the service has")] = None,
    sizes: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the larger of picture in and picture out")] = SIZES,
    formats: Annotated[str, typer.Option(help="of jpeg, png, webp")] = "jpeg,png,webp",
    deadline_ms: Annotated[int | None, typer.Option(min=1, help="of every request; default: the service's own")] = None,
    bad_share: Annotated[float, typer.Option(min=0, max=1, help="share of files that are no pictures")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="of pictures, moments and choices")] = 0,
    api_key_env: Annotated[
        str, typer.Option(help="variable that holds the key, where the service wants one")
    ] = API_KEY,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Send generated pictures to a running service, and say what came of them."""
    require("httpx", "client")
    from monitoring.load import FORMATS, LoadPlan, offers, picture_bodies, summarise

    if rate is not None and callers is not None:
        raise typer.BadParameter("a rate that waits for nobody, or callers who wait: not both", param_hint="--callers")
    tasks = _known(task or [], _TASKS, "--task")
    key = os.environ.get(api_key_env) or None
    kinds = _known(formats.split(","), tuple(FORMATS), "--formats")
    if not kinds:
        raise typer.BadParameter("give at least one", param_hint="--formats")
    pixels = _sizes(sizes)
    good, bad = picture_bodies(offers(url, tasks, key), pixels, kinds, seed)
    plan = LoadPlan(
        url=url,
        good=good,
        bad=bad,
        seconds=seconds,
        rate=0.0 if callers else rate or 2.0,
        callers=callers or 0,
        requests=requests,
        bad_share=bad_share,
        deadline_ms=deadline_ms,
        api_key=key,
        seed=seed,
    )
    summary = summarise(*_sent(plan), deadline_ms)
    if as_json:
        print_json(asdict(summary))
    else:
        _print(summary, deadline_ms)
    if not any(code[:1].isdigit() for code in summary.by_code):
        raise NothingAnsweredError(f"{url} answered none of {summary.offered} requests. Is the service still running?")


def _known(given: list[str], allowed: tuple[str, ...], option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in given if name.strip()))
    if unknown := [name for name in names if name not in allowed]:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(allowed)}", param_hint=option)
    return names


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    found = [_SIZE.fullmatch(part.strip()) for part in text.split(",")]
    sizes = tuple((int(match[1]), int(match[2])) for match in found if match)
    if len(sizes) < len(found):
        raise typer.BadParameter(f"{text!r}: give WIDTHxHEIGHT,WIDTHxHEIGHT,... in pixels", param_hint="--sizes")
    return sizes


def _sent(plan: "LoadPlan") -> "tuple[list[Answer], float]":
    from monitoring.load import send

    restored = other = 0
    # In a log file a line now and then, not ten a second.
    every = 0.2 if sys.stderr.isatty() else 15.0
    with tqdm(total=plan.seconds, desc=plan.url, unit="s", bar_format=_BAR, mininterval=every) as bar:

        def told(gone: float, answer: "Answer | None") -> None:
            nonlocal restored, other
            if answer is not None:
                restored, other = restored + answer.restored, other + (not answer.restored)
                bar.set_postfix_str(f"{restored} restored, {other} not", refresh=False)
            bar.update(min(gone, plan.seconds) - bar.n)

        return send(plan, told)


_BAR = "{desc} |{bar}| {n:.0f} of {total:.0f} s{postfix}"


def _print(summary: "Summary", deadline_ms: int | None) -> None:
    def row(name: str, count: int, ms: tuple[float, float, float]) -> list[str]:
        return [name, str(count), f"{100 * count / summary.offered:.1f}", *(f"{value:.0f}" for value in ms)]

    rows = [row(code, t.count, (t.p50_ms, t.p95_ms, t.p99_ms)) for code, t in summary.by_code.items()]
    rows += [row(f"200 {task}", t.count, (t.p50_ms, t.p95_ms, t.p99_ms)) for task, t in summary.by_task.items()]
    if rows:
        print_table(("answer", "count", "%", "p50 ms", "p95 ms", "p99 ms"), rows)
    within = "" if deadline_ms is None else f", {summary.in_time} within {deadline_ms} ms"
    typer.echo(
        f"{summary.offered} requests in {summary.seconds:.1f} s: {summary.restored} restored{within}; "
        f"goodput {summary.goodput:.2f} a second of {summary.offered / summary.seconds:.2f}"
    )
    if summary.sender_late_p99_ms > 50:
        typer.echo(f"The sender itself was late by {summary.sender_late_p99_ms:.0f} ms (p99): its machine is too busy.")
