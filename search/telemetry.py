"""What a run tells its telemetry: which run it is, and how its search goes."""

import shlex
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from search.config import RunConfig
from search.costs import Expectation
from search.regularisers import shannon_entropy
from training.telemetry import SILENT, Progress, RunFacts, Telemetry

OPTIONS = ("--metrics-dir", "--push-metrics")
"""How a place for metrics is named on a command line."""


def run_telemetry(config: RunConfig, metrics_dir: Path | None = None, push_url: str | None = None) -> Telemetry:
    """Who listens to a run: nobody, unless a place for its metrics is named.

    Where metrics go is no part of a run: with and without them it has the same id and ends in the same bits.

    Args:
        config: Of the run.
        metrics_dir: Folder that node_exporter's textfile collector reads.
        push_url: Of a Pushgateway.

    Raises:
        TelemetryError: The folder is not there or may not be written to, or the address is none.
    """
    if metrics_dir is None and push_url is None:
        return SILENT
    # Imported late: without a place for metrics prometheus_client is not needed.
    from training.telemetry.run_metrics import RunMetrics
    from training.telemetry.sinks import Pushgateway, Sink, Textfile

    sinks: list[Sink] = []
    if metrics_dir is not None:
        sinks.append(Textfile(metrics_dir, config.id))
    if push_url is not None:
        sinks.append(Pushgateway(push_url, config.id))
    return RunMetrics(run_facts(config), sinks)


def command_of(*words: str) -> str:
    """How a run was started, for its model card: without where its metrics went, which is nobody else's business.

    Args:
        words: Of the command line, the program's name first.
    """
    kept, given = [], iter(words)
    for word in given:
        if word in OPTIONS:
            next(given, None)
        elif not word.startswith(tuple(f"{option}=" for option in OPTIONS)):
            kept.append(word)
    return shlex.join(kept)


def run_facts(config: RunConfig) -> RunFacts:
    """What a run is, in labels."""
    return RunFacts(
        run=config.id,
        task=config.task,
        method=config.method,
        target=config.target,
        preset=config.preset,
        report=f"{config.id}/report.json",
    )


def search_progress(
    done: int,
    total: int,
    *,
    loss: float | None,
    learning_rate: float,
    probabilities: Mapping[str, Tensor],
    expected_ms: Expectation | None,
    budget_ms: float | None,
    price: float | None,
) -> Progress:
    """How a search goes, without running the supernet: a few sums over its probabilities.

    Args:
        done: Updates that are done.
        total: Updates in all.
        loss: Of the latest one; None if there was none in this sitting.
        learning_rate: Of the weights.
        probabilities: Choice id -> (K,) probabilities of its candidates, without a graph.
        expected_ms: Expected milliseconds under weights; None where nothing was measured.
        budget_ms: What the derived network has to keep, in milliseconds.
        price: Of going over a budget; None where there is no such price.
    """
    expected = None
    if expected_ms is not None:
        with torch.no_grad():
            expected = float(expected_ms(probabilities)) / 1000.0
    return Progress(
        done,
        total,
        loss=loss,
        learning_rate=learning_rate,
        expected_seconds=expected,
        budget_seconds=None if budget_ms is None else budget_ms / 1000.0,
        price=price,
        entropies={name: shannon_entropy(entry.tolist()) for name, entry in probabilities.items()},
    )
