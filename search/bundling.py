"""What a run's bundle says about itself: manifest, model card, sample pair."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export import Parity, choose_tiling, compose_bundle, sample_pair
from export.graphs import file_name
from models import Genotype, Network, num_parameters, receptive_radius, restore_whole
from runtime import Bundle, Card, Engine, LatencyRecord, Lineage, Manifest, QualityRecord, device_name, engine_version
from search.budget import Budget
from search.config import Plan
from search.latency.model import Prediction
from search.latency.table import Measured, Session
from tasks import Task, embedded_photographs, validation_pair

GENOTYPE = "genotype.json"
"""File of a bundle that says what the network is made of; `millisight draw` takes it."""
LICENCE = "Apache-2.0, as the rest of the project. The images it was trained on are not part of it."


def write_run_bundle(
    folder: Path,
    *,
    plan: Plan,
    network: Network,
    genotype: Genotype,
    models: Mapping[str, bytes],
    engine: Engine,
    image: NDArray[np.float32],
    parities: Mapping[str, Parity],
    measured: Measured | Session,
    predicted: Prediction,
    budget: Budget,
    lineage: Lineage,
    command: str,
) -> Bundle:
    """Choose the tiling, compose manifest and card, and write the bundle.

    Args:
        folder: Where.
        plan: The run's task, method, target and size.
        network: Trained.
        genotype: Its own, which the bundle keeps.
        models: Precision to gated export: fp32, and the target's if that is another.
        engine: The target's export, opened on the run's target, or on this machine's processor if that is elsewhere.
        image: A degraded (3, H, W) validation image to measure the tiling on.
        parities: Precision to what the gate found.
        measured: Milliseconds of the exported file; of a device elsewhere, where nothing was timed, the table's
            sitting there.
        predicted: What the table said.
        budget: What was promised; its size becomes the tile.
        lineage: Hashes of everything that the bundle is made from.
        command: How the run was started.

    Raises:
        BundleError: The folder holds something else, or cannot be written.
    """
    multiple = network.multiple
    tile = (budget.height, budget.width)
    tiling = choose_tiling(engine, image, tile=tile, multiple=multiple, scale=network.scale)
    now = datetime.datetime.now(datetime.UTC)
    manifest = Manifest(
        name=_bundle_name(plan, budget),
        task=plan.task.name,
        scale=network.scale,
        size=tiling.contract,
        models={precision: file_name(precision) for precision in models},
        default_target=plan.target.kind,
        receptive_field=receptive_radius(network),
        lineage=lineage,
        latency=[
            LatencyRecord(
                target=plan.target.slug,
                height=budget.height,
                width=budget.width,
                predicted_ms=predicted.ms,
                predicted_error_ms=predicted.error_ms,
                budget_ms=budget.ms,
                **_timed(plan, measured, now.date()),
            )
        ],
        quality=_quality(plan, parities),
        method=plan.method.name,
        parameters=num_parameters(network),
        created=now.isoformat(timespec="seconds"),
    )
    shown = sample_input(plan.task)
    extras = {**sample_pair(shown, restore_whole(network, shown), network.scale), GENOTYPE: genotype.to_json().encode()}
    card = Card(data=_data_note(plan), licence=LICENCE, limits=_limits(tiling.max_difference), command=command)
    files = {file_name(precision): model for precision, model in models.items()}
    return compose_bundle(folder, manifest, files, card, extras)


def sample_input(task: Task) -> NDArray[np.float32]:
    """The degraded (3, H, W) picture of a bundle's sample pair.

    Always a free photograph, never the training data, so that a bundle may be given away.
    """
    cat = next(sample for sample in embedded_photographs().valid if "chelsea" in sample.name)
    severity = task.severities[len(task.severities) // 2]
    return np.clip(validation_pair(task, cat, severity).degraded, 0.0, 1.0)


def _timed(plan: Plan, measured: Measured | Session, today: datetime.date) -> dict[str, Any]:
    """What a latency record says of the measurement, or that there is none."""
    if isinstance(measured, Session):
        return {"device": measured.device, "engine_version": measured.engine, "date": measured.date[:10]}
    return {
        "device": device_name(plan.target),
        "engine_version": engine_version(plan.target),
        "date": today.isoformat(),
        "measured_ms": measured.ms,
        "spread": measured.spread,
    }


def _quality(plan: Plan, parities: Mapping[str, Parity]) -> list[QualityRecord]:
    first = next(iter(parities.values()))
    steps = {"torch": first.before, **{f"onnx-{precision}": parity.after for precision, parity in parities.items()}}
    return [
        QualityRecord(
            step=step,
            dataset="held-out validation images",
            metric="psnr-y" if plan.task.metric_channel == "y" else "psnr-rgb",
            degraded_db=quality.degraded_db,
            restored_db=quality.restored_db,
            images=quality.images,
        )
        for step, quality in steps.items()
    ]


def _bundle_name(plan: Plan, budget: Budget) -> str:
    scale = f"-x{plan.task.scale}" if plan.task.scale > 1 else ""
    member = f"-{budget.label}" if len(plan.config.budgets_ms) > 1 else ""
    return f"{plan.task.name}{scale}-{plan.method.name}-{plan.config.id.rsplit('-', 1)[1]}{member}"


def _data_note(plan: Plan) -> str:
    if plan.config.data_note:
        return plan.config.data_note
    if plan.config.data is None:
        return "Photographs shipped inside scikit-image, and dead-leaves images generated from a seed."
    return f"The user's own images: {plan.config.data}"


def _limits(tile_difference: float) -> str:
    return (
        "Trained on synthetic degradations unless the data says otherwise; expect less on what it has not seen. "
        f"Tiles of large pictures differ from one pass by at most {255 * tile_difference:.2f} grey levels (measured)."
    )
