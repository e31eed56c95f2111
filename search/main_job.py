"""The main job: all stages of a run in order."""

from pathlib import Path
from typing import Any

from models import ModelError
from search.config import RunConfig
from search.errors import SearchError
from search.pipeline import Run
from search.report import run_report
from search.searcher import SearchResult


def search_latency_aware(
    config: RunConfig, out: Path, *, table: Path | None = None, command: str = ""
) -> dict[str, Any]:
    """Measure, search, derive, train, export and check; resumes wherever it was interrupted.

    Args:
        config: What to do.
        out: Folder of all runs.
        table: A latency table to use instead of measuring one.
        command: How this was started, for the model card.

    Returns:
        The report (see `search.report.run_report`).

    Raises:
        MillisightError: A name, a table, a budget or a gate; the text says what to do.
    """
    try:
        return _run_stages(config, out, table, command)
    except ModelError as error:
        # The rooms that hold networks import nothing of ours, so their errors join ours at this border.
        raise SearchError(str(error)) from error


def _run_stages(config: RunConfig, out: Path, table: Path | None, command: str) -> dict[str, Any]:
    run = Run(config, out, table, command)
    model = run.table()
    budget = run.budget(model)
    searched: list[SearchResult] = []

    def result() -> SearchResult:
        # The supernet is needed only if the derivation or the training has not been done yet.
        if not searched:
            searched.append(run.search(model, budget))
        return searched[0]

    genotype = run.derive(result, model, budget)
    network = run.train(genotype, result)
    bundle = run.export(network, genotype, model, budget)
    return run_report(run.folder, bundle, genotype, model, budget, run.check_service(bundle))
