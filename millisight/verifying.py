"""`millisight verify`: does a bundle hold on this machine? Hashes, gates, quality, promised times."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from millisight.console import print_facts, print_json, print_table, usage
from millisight.promise import Promise
from millisight.selection import Skipped, select
from millisight.verification import (
    REFERENCE,
    Gain,
    Gate,
    Images,
    check_images,
    choose_images,
    time_promises,
)
from runtime import Bundle, BundleError
from runtime.auto import AUTO

LIMIT = 8


def verify(
    bundle: Annotated[Path, typer.Argument(help="a bundle's folder")],
    targets: Annotated[
        str, typer.Option(help="comma-separated, see `millisight targets`; auto: all that this machine has")
    ] = AUTO,
    data: Annotated[
        str | None, typer.Option(help="folder(s) of clean images or of pairs, comma-separated; default: embedded ones")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help=f"at most so many images; default {LIMIT}")] = None,
    at_least: Annotated[float | None, typer.Option(help="gain in dB below which the check fails; default 0")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="leave gates and quality out")] = False,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="leave the promised times out")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Check a bundle here: hashes, every graph against its fp32 graph, quality, promised times. 1 if one fails."""
    images_only = {"--data": data, "--limit": limit, "--at-least": at_least}
    unused = [name for name, value in images_only.items() if no_images and value is not None]
    if unused:
        raise typer.BadParameter("has no effect with --no-images", param_hint="/".join(unused))
    try:
        found = Bundle.load(bundle)
    except BundleError as error:
        if not as_json:
            raise
        print_json({"bundle": str(bundle), "fault": str(error), "holds": False})
        raise typer.Exit(1) from error
    selection = usage(lambda: select(found.manifest, targets), "--targets")
    images, gates, gains = None, tuple[Gate, ...](), tuple[Gain, ...]()
    if not no_images:
        images = choose_images(found.manifest, data, LIMIT if limit is None else limit)
        gates, gains = check_images(found, selection.targets, images, at_least or 0.0)
    promises, untimed = ((), ()) if no_timing else time_promises(found, selection)
    parts: tuple[Gate | Gain | Promise, ...] = (*gates, *gains, *promises)
    checked = bool(parts) or (no_images and no_timing)
    holds = checked and all(part.holds for part in parts)
    skipped = {(lack.target, lack.why): lack for lack in (*selection.skipped, *untimed)}.values()
    if as_json:
        print_json(
            {
                "bundle": found.manifest.name,
                "files": found.manifest.files,
                "images": None if images is None else {"name": images.name, "count": len(images.pairs)},
                "reference": REFERENCE,
                "gates": [gate.model_dump() for gate in gates],
                "quality": [gain.model_dump() for gain in gains],
                "timings": [promise.content for promise in promises],
                "skipped": [lack.model_dump() for lack in skipped],
                "holds": holds,
            }
        )
    else:
        typer.echo(f"{found.manifest.name}: {len(found.manifest.files)} files, every hash is right")
        if images is not None:
            _print_gates(gates, images)
            _print_quality(gains, images, at_least or 0.0)
        if promises:
            _print_promises(promises)
        _print_skipped(skipped)
        typer.echo("\n" + ("holds" if holds else "does not hold" if checked else "nothing was checked"))
    if not holds:
        raise typer.Exit(1)


def _print_gates(gates: Sequence[Gate], images: Images) -> None:
    typer.echo(f"\ngates: against its fp32 graph on {REFERENCE}, {len(images.pairs)} images ({images.name})")
    if not gates:
        return
    print_table(
        ("target", "largest difference", "mean", "PSNR dB", "dB lost", "when made", ""),
        [
            (
                gate.target,
                *(_number(value, ".6f") for value in (gate.max_difference, gate.mean_difference)),
                "equal" if gate.max_difference == 0 else _number(gate.reference_db, ".2f"),
                *(_number(value, "+z.4f") for value in (gate.db_lost, gate.recorded_db_lost)),
                _word(gate.holds),
            )
            for gate in gates
        ],
    )
    for gate in gates:
        if gate.why:
            print_facts(((gate.target, gate.why),))


def _print_quality(gains: Sequence[Gain], images: Images, at_least: float) -> None:
    if not gains:
        return
    typer.echo(f"\nquality: PSNR in dB ({images.task.metric_channel}), a gain of at least {at_least:+.2f} wanted")
    print_table(
        ("target", "input", "restored", "gain", ""),
        [
            (
                gain.target,
                *(_number(value, ".2f") for value in (gain.degraded_db, gain.restored_db)),
                _number(gain.gain_db, "+z.2f"),
                _word(gain.holds),
            )
            for gain in gains
        ],
    )


def _print_promises(promises: Sequence[Promise]) -> None:
    typer.echo("\npromises: ms of the faster half of plain runs, not corrected for what else the machine does")
    print_table(
        ("target", "size", "measured", "runs", "predicted", "budget", ""),
        [promise.row for promise in promises],
    )
    for note in dict.fromkeys(promise.elsewhere for promise in promises):
        if note:
            print_facts((("", note),))


def _print_skipped(skipped: Iterable[Skipped]) -> None:
    reasons: dict[tuple[str, str], list[str]] = {}
    for lack in skipped:
        reasons.setdefault((lack.why, lack.remedy), []).append(lack.target)
    for (why, remedy), targets in reasons.items():
        typer.echo(f"\nskipped: {', '.join(targets)}")
        print_facts((("because", why), ("remedy", remedy)))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"
