"""The main job: all stages of a run in order."""

import functools
from pathlib import Path
from typing import Any

from models import ModelError
from search.budget import middle_budget
from search.config import RunConfig
from search.contract import require_reachable
from search.errors import SearchError
from search.files import write_json
from search.latency.model import LatencyModel
from search.member import Member
from search.pipeline import Run
from search.report import family_report
from search.searcher import SearchResult
from training.telemetry import SILENT, Telemetry


def search_latency_aware(
    config: RunConfig,
    out: Path,
    *,
    table: Path | None = None,
    command: str = "",
    telemetry: Telemetry = SILENT,
) -> dict[str, Any]:
    """Measure, search, derive, train, export and check; resumes wherever it was interrupted.

    One table and one search serve all budgets of the config. All networks are derived and timed before the first is
    trained: a budget that cannot be met shows early. For a device elsewhere (`config.elsewhere`) nothing is timed.

    Args:
        config: What to do.
        out: Folder of all runs.
        table: A latency table to use instead of measuring one; of the other device for one elsewhere.
        command: How this was started, for the model card.
        telemetry: Who is told how the run goes (see `search.telemetry.run_telemetry`); changes nothing of it.

    Returns:
        The report (see `search.report`): of the network, or of a family with `members`.

    Raises:
        MillisightError: A name, a table, a budget or a gate; the text says what to do.
    """
    try:
        with telemetry.running():
            return _run_stages(config, out, table, command, telemetry)
    except ModelError as error:
        # The rooms that hold networks import nothing of ours, so their errors join ours at this border.
        raise SearchError(str(error)) from error


def _run_stages(config: RunConfig, out: Path, table: Path | None, command: str, telemetry: Telemetry) -> dict[str, Any]:
    run = Run(config, out, table, command, telemetry)
    with telemetry.stage("measure"):
        model = run.table()
    budgets = run.budgets(model)
    for budget in budgets:
        require_reachable(model, budget, timed=not config.elsewhere)

    # The supernet is needed only if a derivation or a training has not been done yet.
    @functools.cache
    def result() -> SearchResult:
        with telemetry.stage("search"):
            return run.search(model, middle_budget(budgets))

    members = [Member(run, model, budget, result) for budget in budgets]
    genotypes, reports, parts = [], [], len(members)
    for part, member in enumerate(members):
        with telemetry.stage("derive", part=part, parts=parts, steps=1):
            genotypes.append(member.derive())
    for part, (member, genotype) in enumerate(zip(members, genotypes, strict=True)):
        with telemetry.stage("train", part=part, parts=parts):
            network = member.train(genotype)
        with telemetry.stage("export", part=part, parts=parts, steps=1):
            reports.append(member.report(member.export(network, genotype), genotype))
    report = reports[0] if len(reports) == 1 else family_report(reports)
    report = {**report, "latency_report": str(_latency_page(run.folder, model))}
    write_json(run.folder / "report.json", report)
    return report


def _latency_page(folder: Path, model: LatencyModel) -> Path:
    """The page that shows the run's latency table."""
    # Imported late: drawing takes half a second to load, and most of what imports this room draws nothing.
    from search.latency.report import write_latency_report

    return write_latency_report(model.table, folder / "latency")[0]
