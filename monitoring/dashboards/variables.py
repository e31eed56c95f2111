"""What is chosen at the top of a dashboard."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from monitoring.dashboards.expressions import MODEL_ONLY, TASKS
from monitoring.dashboards.queries import DATASOURCE

__all__ = [
    "DATASOURCE_VARIABLE",
    "DOCS",
    "MODEL",
    "MODEL_OF_TASK",
    "REPORTS",
    "RUN",
    "TARGET",
    "TASK",
    "Variable",
    "chosen",
    "written",
]

Variable = models.VariableModel


def chosen(name: str, label: str, series: str, description: str) -> Variable:
    """Values that a label has; several can be chosen, and all are at first.

    Args:
        name: Of the variable and of the label.
        label: Beside the choice.
        series: PromQL selector of the series that have it.
        description: Shown beside it.
    """
    # 1 is the editor's number for the values of a label.
    query = {"qryType": 1, "query": f"label_values({series},{name})", "refId": f"variable-{name}"}
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        # Not the values that are known: what was refused before a model was chosen is part of everything too.
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .build()
    )


def written(name: str, label: str, default: str, description: str) -> Variable:
    """A text that is typed in.

    Args:
        name: Of the variable.
        label: Beside the field.
        default: What it is at first.
        description: Shown beside it.
    """
    return (
        dashboard.TextBoxVariable(name)
        .label(label)
        .description(description)
        .default_value(default)
        .current(models.VariableOption(selected=True, text=default, value=default))
        .build()
    )


def _datasource() -> Variable:
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .description("The Prometheus that scrapes the service and the runs.")
        .type("prometheus")
        .current(models.VariableOption(selected=True, text="Prometheus", value="prometheus"))
        .build()
    )


DATASOURCE_VARIABLE = _datasource()
TASK = chosen("task", "Task", "restore_model_info", "What is restored.")
MODEL = chosen("model", "Model", "restore_model_info", "Bundles, by name.")
MODEL_OF_TASK = chosen("model", "Model", f"restore_model_info{{{TASKS}}}", "Bundles, by name.")
TARGET = chosen(
    "target", "Target", f"restore_model_info{{{MODEL_ONLY}}}", "Where models run, with the number of threads."
)
RUN = chosen("run", "Run", "millisight_run_info", "Runs that told something in the time shown.")
DOCS = written(
    "docs", "Docs at", "http://127.0.0.1:8000/docs",
    "Where links to runbooks lead: the repository's docs folder, for example behind `python -m http.server`.",
)  # fmt: skip
REPORTS = written(
    "reports", "Runs at", "http://127.0.0.1:8000/runs",
    "Where links to reports lead: the folder of the runs, for example behind `python -m http.server`.",
)  # fmt: skip
