"""`search` and `methods`."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from millisight.console import print_facts, print_json, require, usage
from runtime import Target
from runtime.target import PLAIN


def methods(as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False) -> None:
    """List the search methods, with the size of what each searches at its published settings."""
    require("torch", "search,cpu")
    # Imported late, here and below: restoring and serving must work where torch is not installed.
    from dataclasses import asdict

    from search import METHODS, method_facts, paper_task

    described = [(method, method_facts(method)) for method in METHODS]
    if as_json:
        print_json(
            [
                {
                    "name": m.name,
                    "summary": m.summary,
                    "tasks": m.tasks,
                    "paper_tasks": m.paper_tasks,
                    "space": m.space,
                    "relaxations": dict(m.relaxations),
                    "presets": [preset.name for preset in m.recipes(paper_task(m))],
                    "reference": m.reference,
                    "reconstruction": m.reconstruction,
                    **asdict(facts),
                }
                for m, facts in described
            ]
        )
        return
    for m, facts in described:
        relaxed = ", ".join(f"{kind}: {name}" for kind, name in m.relaxations.items())
        counted = ", ".join(f"{count} x {kind} of {most}" for kind, (count, most) in facts.choices.items())
        others = [task for task in m.tasks if task not in m.paper_tasks]
        typer.echo(m.name)
        print_facts(
            (
                ("", m.summary),
                ("tasks", f"{', '.join(m.paper_tasks)}" + (f"; also {', '.join(others)}" if others else "")),
                ("relaxation", relaxed),
                ("choices", f"{counted} (at the published size for {facts.task})"),
                ("networks", f"{facts.networks:,}" if facts.networks < 10**9 else f"{facts.networks:.2e}"),
                (
                    "parameters",
                    f"supernet {facts.supernet_parameters:,}; derived {facts.smallest:,} to {facts.largest:,}",
                ),
                ("presets", ", ".join(preset.name for preset in m.recipes(paper_task(m)))),
                ("paper", m.reference),
                ("ours", m.reconstruction),
            )
        )


def search(
    task: Annotated[str, typer.Option(help="derain, denoise or super-resolution")] = "denoise",
    scale: Annotated[int | None, typer.Option(help="2 or 4, for super-resolution")] = None,
    method: Annotated[str, typer.Option(help="see `millisight methods`")] = "autoderain",
    target: Annotated[str, typer.Option(help="see `millisight targets`")] = PLAIN,
    budget_ms: Annotated[
        str | None,
        typer.Option(
            help="ms for one input of --size, such as 20, or 5,10,20: a network each; default: a third of the range"
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="input size, WIDTHxHEIGHT; also the tile that is served")] = "512x512",
    preset: Annotated[str, typer.Option(help="smoke, quick, default or paper; see `millisight methods`")] = "default",
    complexity: Annotated[
        str, typer.Option(help="what the search pays for slow networks: latency, parameters, flops, paper or none")
    ] = "latency",
    teacher: Annotated[
        str | None, typer.Option(help="folder of a bundle whose output is learned instead of the clean picture")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="folders of clean images or of pairs, comma-separated; default: embedded ones")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of all runs")] = Path("runs"),
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str, typer.Option(help="where torch trains: auto, cpu or cuda")] = "auto",
    table: Annotated[Path | None, typer.Option(help="use this latency table instead of measuring one")] = None,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="the table is of another device: nothing is timed here")
    ] = False,
    metrics_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="MILLISIGHT_METRICS_DIR",
            help="write live metrics of the run to a file here, for node_exporter's textfile collector",
        ),
    ] = None,
    push_metrics: Annotated[
        str | None,
        typer.Option(
            envvar="MILLISIGHT_PUSH_METRICS", help="push live metrics to this Pushgateway, such as http://HOST:9091"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report for machines")] = False,
) -> None:
    """From a latency budget to a bundle: measure, search, derive, train, export. Interrupted, it goes on."""
    require("torch", "search,cpu")
    import torch

    from runtime import usable_cores
    from search import format_report, get_complexity, parse_budgets, parse_size, run_config, search_latency_aware
    from search.config import Plan
    from search.latency.table import REMEDY
    from search.telemetry import command_of, run_telemetry
    from training import pick_device

    if elsewhere and table is None:
        raise typer.BadParameter(
            f"a device elsewhere cannot be measured here; run `{REMEDY} --target {target}` on it, carry the file home, "
            "and name it with --table",
            param_hint="--elsewhere",
        )
    where = usage(lambda: Target.parse(target), "--target")
    height, width = usage(lambda: parse_size(size), "--size")
    if task == "super-resolution" and scale is None:
        scale = 2
    if "OMP_NUM_THREADS" not in os.environ:
        # torch counts the host's cores, a container may have fewer.
        torch.set_num_threads(usable_cores())
    values = {
        "task": task,
        "scale": scale,
        "method": method,
        "target": where.slug,
        "budget_ms": None if budget_ms is None else usage(partial(parse_budgets, budget_ms), "--budget-ms"),
        "height": height,
        "width": width,
        "preset": preset,
        "complexity": usage(lambda: get_complexity(complexity), "--complexity"),
        "teacher": teacher,
        "data": data,
        "seed": seed,
        "device": device,
        "elsewhere": elsewhere,
    }
    config = usage(lambda: run_config(**values), "--size")
    plan = usage(lambda: Plan(config), "--task/--scale/--method/--preset")
    usage(plan.require_size, "--size")
    usage(lambda: pick_device(device), "--device")
    if metrics_dir is not None or push_metrics is not None:
        require("prometheus_client", "search")
    if push_metrics is not None:
        from training.telemetry.sinks import gateway_url

        usage(partial(gateway_url, push_metrics), "--push-metrics")
    telemetry = run_telemetry(config, metrics_dir, push_metrics)
    typer.echo(f"run {out / config.id}", err=True)
    command = command_of("millisight", *sys.argv[1:])
    report = search_latency_aware(config, out, table=table, command=command, telemetry=telemetry)
    if as_json:
        print_json(report)
    else:
        typer.echo(format_report(report))
