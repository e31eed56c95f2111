"""What goes through: pictures, tiles and batches, and the models that do it."""

from __future__ import annotations

from monitoring.dashboards.board import Section
from monitoring.dashboards.expressions import MODEL_ONLY, SERVED, TASKS, WINDOW, mean, quantile, rate, select, total
from monitoring.dashboards.graphs import graph, heat
from monitoring.dashboards.looks import BAD, P50, P95, Unit
from monitoring.dashboards.numbers import number
from monitoring.dashboards.queries import Query
from monitoring.dashboards.tables import Column, listing

__all__ = ["MODELS", "PICTURES"]

_NONFINITE = select("restore_nonfinite_outputs_total", MODEL_ONLY)

PICTURES = Section(
    "Pictures",
    (
        graph(
            "Megapixels",
            "Input megapixels restored in a second, by model: the true amount of work. Requests may fall while this "
            "grows, if pictures get larger.",
            Unit.MEGAPIXEL_RATE,
            Query(total(rate("restore_megapixels_processed_total", SERVED), "model"), "{{model}}"),
            stacked="normal",
        ),
        heat(
            "Sizes of pictures sent",
            "How many pictures of which size came. A band that moves up explains longer requests without anything "
            "being wrong.",
            Unit.MEGAPIXELS,
            f"sum by (le) (increase({select('restore_input_megapixels_bucket', TASKS)}[{WINDOW}]))",
        ),
        graph(
            "Sizes of pictures restored",
            "Megapixels of results. Far above those sent is super-resolution; the largest decide how much memory is "
            "held.",
            Unit.MEGAPIXELS,
            Query(quantile(0.5, "restore_output_megapixels", "task", where=TASKS), "{{task}} p50", P50),
            Query(quantile(0.95, "restore_output_megapixels", "task", where=TASKS), "{{task}} p95", P95),
        ),
        graph(
            "Tiles",
            "Tiles run in a second, by model. Many tiles for few megapixels: pictures are a little larger than the "
            "tile, and a bundle for that size would be faster.",
            Unit.PER_SECOND,
            Query(total(rate("restore_tiles_total", SERVED), "model"), "{{model}}"),
        ),
        graph(
            "Tiles per batch",
            "Mean number of tiles that ran together. It grows under load where a target gains by it; 1 under load "
            "means that the bundle's records say it does not.",
            Unit.COUNT,
            Query(mean("restore_batch_tiles", "model", where=MODEL_ONLY), "{{model}}"),
        ),
        graph(
            "Outputs that are not finite",
            "Requests for which a network gave NaN or infinity; they were answered 500. Any at all: take the model out "
            "and keep the picture.",
            Unit.COUNT,
            Query(f"sum by (model, target) (increase({_NONFINITE}[{WINDOW}]))", "{{model}} {{target}}", BAD),
            runbook="RestoreNonfiniteOutputs",
        ),
    ),
)

_INFO = f"max by (task, model, target, backend, precision, sha256) ({select('restore_model_info', SERVED)} == 1)"
# The first digits say enough, and fit.
_LOADED = f'label_replace({_INFO}, "digest", "$1", "sha256", "(.{{12}}).*")'
_LOAD_SECONDS = "max by (task, model) (restore_model_load_seconds)"

MODELS = Section(
    "Models",
    (
        listing(
            "Models loaded",
            "What serves now. The digest tells whether two instances have the same bytes; a load of many seconds "
            "delays every start and every exchange.",
            f"{_LOADED} * on (task, model) group_left () {_LOAD_SECONDS}",
            columns=(
                Column("task", "Task", width=150),
                Column("model", "Model"),
                Column("target", "Target"),
                Column("backend", "Engine", width=120),
                Column("precision", "Precision", width=90),
                Column("digest", "Digest", width=130),
                Column("A", "Load time", Unit.SECONDS, width=110),
            ),
            sort="Task",
            width=16,
            nothing="no model is loaded",
            runbook="RestoreModelAbsent",
        ),
        number(
            "Bundles refused",
            "Bundles in the service's folders that are damaged, foreign or cannot run here. Any: `millisight doctor` "
            "on the folder says why.",
            Unit.PLAIN,
            Query("max(restore_bundles_refused)", "refused"),
            steps=((None, "green"), (1, "red")),
            height=8,
            trend=False,
            runbook="RestoreBundleRefused",
        ),
        listing(
            "Versions",
            "Versions of the service that run, and on how many instances. More than one for long: a roll-out is stuck.",
            "count by (version) (restore_build_info)",
            columns=(Column("version", "Version"), Column("A", "Instances", Unit.PLAIN)),
            width=4,
        ),
    ),
)
