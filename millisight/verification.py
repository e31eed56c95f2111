"""What `millisight verify` finds, and how: every graph of a bundle against its fp32 graph, its gain, its times.

Needs neither torch nor, with images of one's own, anything beyond an engine.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from millisight.console import MissingExtraError
from millisight.promise import Promise, time_promise
from millisight.selection import Result, Selection, Skipped, skipped_if
from runtime import Bundle, Manifest, MillisightError, Restorer, Target, TargetError, open_engine
from runtime.auto import lacking
from runtime.target import PLAIN
from tasks import Task, ValidationPair, embedded_photographs, get_task, load_data, validation_pairs
from tasks.parity import Parity, compare, finite, remember, verdict

__all__ = ["REFERENCE", "Gain", "Gate", "Images", "check_images", "choose_images", "recorded_db_lost", "time_promises"]


REFERENCE = PLAIN
"""What every graph is compared with: bundles hold no torch weights."""


class Gate(Result):
    """One graph on one target against the fp32 graph on `REFERENCE`, on the same images.

    Attributes:
        target: Slug with threads.
        max_difference: Largest absolute difference of any pixel, in [0, 1]; None if a value is not finite.
        mean_difference: Mean absolute difference; likewise.
        reference_db: PSNR against the reference, dB; None if equal, or if a value is not finite.
        db_lost: dB of the task that are lost; None if there is no such number.
        recorded_db_lost: The same when the bundle was made, on the images of that time; None if nobody wrote it down.
        why: Why it does not hold, empty if it does.
        holds: Whether it is within the bounds of its precision.
    """

    target: str
    max_difference: float | None
    mean_difference: float | None
    reference_db: float | None
    db_lost: float | None
    recorded_db_lost: float | None
    why: str
    holds: bool


class Gain(Result):
    """Quality on the images.

    Attributes:
        target: Slug with threads.
        degraded_db: Of the input, or its bicubic enlargement.
        restored_db: Of the output; None if there is no such number.
        gain_db: Difference of the two; likewise.
        holds: Whether the gain is as large as asked for.
    """

    target: str
    degraded_db: float | None
    restored_db: float | None
    gain_db: float | None
    holds: bool


@dataclass(frozen=True)
class Images:
    """What is compared on.

    Attributes:
        name: In words.
        task: Gives the metric.
        pairs: Degraded and clean pictures.
    """

    name: str
    task: Task
    pairs: Sequence[ValidationPair]


def choose_images(manifest: Manifest, data: str | None, limit: int) -> Images:
    """The user's pictures, or the photographs that no network was trained on.

    Raises:
        TaskError: A folder is not usable.
        MissingExtraError: No folder is named, and the photographs are not installed.
    """
    task = get_task(manifest.task, manifest.scale)
    if data is not None:
        found = load_data(data)
        return Images(data, task, validation_pairs(task, (*found.valid, *found.train), limit))
    if importlib.util.find_spec("skimage") is None:
        raise MissingExtraError(
            "the gates need images, and the embedded ones come with scikit-image, which is not installed: name folders "
            "of your own with --data, or pip install scikit-image, or leave gates and quality out with --no-images"
        )
    photographs = embedded_photographs().valid
    return Images("photographs of scikit-image", task, validation_pairs(task, photographs, limit))


def check_images(
    bundle: Bundle, targets: Sequence[Target], images: Images, at_least: float
) -> tuple[tuple[Gate, ...], tuple[Gain, ...]]:
    """Run every graph on every target through the code that serves, tiles and all.

    Args:
        bundle: With an fp32 graph.
        targets: That can run here.
        images: What to compare on.
        at_least: Gain in dB below which the quality does not hold.

    Raises:
        MillisightError: The reference cannot run here, or its output is not usable.
    """
    reference = remember(Restorer.load(bundle, REFERENCE).restore_array)
    for pair in tqdm(images.pairs, desc="reference", unit="image", leave=False):
        reference(pair.degraded)
    gates, gains = [], []
    for target in tqdm(targets, desc="comparing", unit="target", leave=False):
        recorded = recorded_db_lost(bundle.manifest, target)
        try:
            parity = compare(reference, Restorer.load(bundle, target).restore_array, images.task, images.pairs)
        except MillisightError as error:  # the engine refuses the graph, or gives what is no image
            gates.append(_refused(target, str(error), recorded))
        else:
            gates.append(_gate(target, parity, recorded))
            gains.append(_gain(target, parity, at_least))
    return tuple(gates), tuple(gains)


def recorded_db_lost(manifest: Manifest, target: Target) -> float | None:
    """What a bundle says that a target lost when it was made: of the run there, or of the graph's own step."""
    of_graph = ("simplify", "fold", "export") if target.precision == "fp32" else (target.precision,)
    for name in (f"run {target.kind}", *of_graph):
        for step in manifest.steps:
            if step.name == name and step.db_lost is not None:
                return step.db_lost
    return None


def time_promises(bundle: Bundle, selection: Selection) -> tuple[tuple[Promise, ...], tuple[Skipped, ...]]:
    """Time every promise of a bundle that was made for a selected target.

    Raises:
        MillisightError: An engine refuses its graph.
    """
    promises, skipped = [], []
    for record in bundle.manifest.latency:
        try:
            target = Target.parse(record.target)
        except TargetError as error:
            skipped.append(Skipped(target=record.target, why=str(error), remedy=""))
            continue
        if selection.named and not {target.slug, target.kind} & set(selection.named):
            skipped.append(Skipped(target=target.slug, why="it was not asked for", remedy=f"--targets {target.slug}"))
        elif (skip := skipped_if(lacking(bundle.manifest, target), target)) is not None:
            skipped.append(skip)
        else:
            model, stored = bundle.model_path(target.precision), bundle.engine_for(target)
            promises.append(time_promise(open_engine(model, target, stored), record))
    return tuple(promises), tuple(skipped)


def _gate(target: Target, parity: Parity, recorded: float | None) -> Gate:
    why = verdict(parity, target.precision)
    return Gate(
        target=target.slug,
        max_difference=finite(parity.max_difference),
        mean_difference=finite(parity.mean_difference),
        reference_db=finite(parity.reference_db),
        db_lost=finite(parity.db_lost),
        recorded_db_lost=recorded,
        why=why,
        holds=not why,
    )


def _refused(target: Target, why: str, recorded: float | None) -> Gate:
    return Gate(
        target=target.slug, max_difference=None, mean_difference=None, reference_db=None, db_lost=None,
        recorded_db_lost=recorded, why=why, holds=False,
    )  # fmt: skip


def _gain(target: Target, parity: Parity, at_least: float) -> Gain:
    gain = parity.after.restored_db - parity.after.degraded_db
    return Gain(
        target=target.slug,
        degraded_db=finite(parity.after.degraded_db),
        restored_db=finite(parity.after.restored_db),
        gain_db=finite(gain),
        holds=bool(np.isfinite(gain)) and gain >= at_least,
    )
