"""From weights, or a bundle, to gated files for every target, and the fastest of them; all of it written down."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.bundle import extend_bundle
from export.choose import RULES, Choice
from export.engine_steps import EngineSteps
from export.graphs import GraphSteps, Subject, digest, file_name
from export.steps import Step, StepStore
from export.targets import AUTO, PlannedTarget, plan_targets, promised_kind, promised_threads
from runtime import Bundle, EngineRecord, Manifest, QualityRecord, SpeedRecord, StabilityRule, StepRecord
from runtime.records import without_threads
from runtime.target import TARGETS
from tasks.evaluate import Quality, evaluate

GRAPH_STEPS = ("export", "fold", "simplify", "fp16", "int8")
"""In their order; after them come `build <target>` and `run <target>` for each."""


@dataclass(frozen=True)
class Compiled:
    """What an export came to.

    Attributes:
        bundle: As written.
        steps: What was done, or found done, this time.
        speed: What was timed, all of one sitting in turns.
        choice: The default target and why; None where nothing could be timed here.
        notes: What was left out, in sentences.
    """

    bundle: Bundle
    steps: tuple[StepRecord, ...]
    speed: tuple[SpeedRecord, ...]
    choice: Choice | None
    notes: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a step came out wrong; one that was dropped or skipped did not."""
        return any(step.status == "failed" for step in self.steps)


def compile_bundle(
    subject: Subject,
    targets: Sequence[str] = (AUTO,),
    *,
    work: Path,
    out: Path | None = None,
    rules: Mapping[int, StabilityRule] = RULES,
    on_step: Callable[[StepRecord], None] = lambda _: None,
    on_start: Callable[[str], None] = lambda _: None,
) -> Compiled:
    """Make, gate, time and choose; then write the bundle in one step, over itself or elsewhere.

    Every result is kept in a folder as soon as it is there. Interrupted, the same call goes on; with more targets it
    does what is new, and times all of them together again.

    Args:
        subject: The bundle, its task, the images, and the network if its weights are at hand.
        targets: `auto`, or targets without threads; also both.
        work: Folder of the results so far.
        out: Where the bundle is written; over the old one if None.
        rules: When timings count as settled, for each number of tiles at a time.
        on_step: Called after each step.
        on_start: Called with the name of a step that has to be done.

    Raises:
        GateError: The fp32 graph does not compute what the network computes. Nothing is written then.
        ExportError: No target was named, or one with its threads.
        TargetError: A target that was named does not exist, or something is missing for it here.
        BundleError: The bundle cannot be written.
    """
    manifest = subject.bundle.manifest
    planned = plan_targets(targets, manifest)
    store = StepStore(work, on_step, on_start)
    graphs = GraphSteps(subject, store, promised_threads(manifest))
    models = _make_graphs(graphs, planned, everything=AUTO in targets)
    reference = _reference_quality(graphs, store)
    engines = EngineSteps(subject, store, graphs.gate, graphs.inputs, models)
    for entry in planned:
        if entry.build:
            engines.build(entry)
    for entry in planned:
        engines.run(entry)
    speed, choice, notes = engines.time(rules)
    steps = (*graphs.steps, *engines.steps)
    files = {**subject.extras, **{file_name(precision, subject.bundle): model for precision, model in models.items()}}
    files |= {record.file: content for record, content in engines.engines.values()}
    written = _Writing(subject, models, steps).manifest(
        [record for record, _ in engines.engines.values()], speed, choice, reference
    )
    bundle = extend_bundle(subject.bundle, written, files, out)
    return Compiled(bundle, steps, tuple(speed), choice, tuple(notes))


def _make_graphs(graphs: GraphSteps, planned: Sequence[PlannedTarget], everything: bool) -> dict[str, bytes]:
    """Precision to graph: fp32 always, others if asked for, needed by a target, or in the bundle already."""
    wanted = {entry.target.precision for entry in planned} | {*graphs.subject.bundle.manifest.models}
    models = {"fp32": graphs.fp32()}
    if everything or "fp16" in wanted:
        models["fp16"] = graphs.fp16() or b""
    if everything or "int8" in wanted:
        runners = tuple(entry.target for entry in planned if entry.target.precision == "int8" and not entry.lacks)
        models["int8"] = graphs.int8(models["fp32"], runners) or b""
    return {precision: model for precision, model in models.items() if model}


def _reference_quality(graphs: GraphSteps, store: StepStore) -> Quality:
    """How good the reference is on the gate's images."""
    gate = graphs.gate

    def work() -> Step:
        quality = evaluate(gate.task, gate.pairs, gate.reference, "scoring the reference")
        said = {"degraded_db": quality.degraded_db, "restored_db": quality.restored_db, "images": quality.images}
        return Step(StepRecord(name="reference", status="ok"), json.dumps(said).encode())

    return Quality(**json.loads(store.do("reference", graphs.inputs, work).content))


class _Writing:
    """What the manifest says after the steps of one export.

    Args:
        subject: What was compiled.
        models: Precision to graph.
        steps: Of this export.
    """

    def __init__(self, subject: Subject, models: Mapping[str, bytes], steps: Sequence[StepRecord]) -> None:
        self._subject, self._models, self._steps = subject, models, steps
        self._old = subject.bundle.manifest

    def manifest(
        self,
        engines: Sequence[EngineRecord],
        speed: Sequence[SpeedRecord],
        choice: Choice | None,
        reference: Quality,
    ) -> Manifest:
        """The new manifest, without the hashes of its files."""
        old = self._old
        built = {engine.file for engine in engines}
        timed = {record.target for record in speed}
        update = {
            "files": {},
            "models": {precision: file_name(precision, self._subject.bundle) for precision in self._models},
            "engines": [*engines, *(kept for kept in old.engines if kept.file not in built and self._made_of(kept))],
            "steps": self._all_steps(),
            "speed": [*speed, *(kept for kept in old.speed if kept.target not in timed and self._still_runs(kept))],
            "quality": self._all_quality(reference),
            "lineage": old.lineage.model_copy(update=self._lineage()),
        }
        if choice is not None:
            update |= {"default_target": choice.kind, "default_reason": choice.reason}
        elif old.default_target.rpartition("-")[2] not in self._models:
            update |= {"default_target": promised_kind(old), "default_reason": "nothing could be timed here"}
        return old.model_copy(update=update)

    def _all_steps(self) -> list[StepRecord]:
        """Those of this export, and of earlier ones those that still hold; in order.

        What was skipped this time, for want of the weights or because there was nothing to do, does not wipe out what
        was found when it was done.
        """
        known = {step.name: step for step in self._old.steps if step.status != "skipped"}
        new = {step.name: step for step in self._steps}
        for name, step in new.items():
            idle = step.status == "skipped" or (name == "simplify" and not step.file)
            if idle and name in known and self._may_stay(known[name]):
                new[name] = known[name]
        kept = [step for name, step in known.items() if name not in new and self._may_stay(step)]
        return sorted((*new.values(), *kept), key=lambda step: _place(step.name))

    def _may_stay(self, step: StepRecord) -> bool:
        """Whether an earlier record is about a graph that is still the same."""
        if step.name in ("export", "fold", "simplify"):
            return self._subject.network is None
        return self._same_graph(step.name, step.source)

    def _same_graph(self, name: str, source: str) -> bool:
        model = self._models.get("fp32" if name in GRAPH_STEPS else name.rpartition("-")[2])
        return model is not None and source == digest(model)

    def _made_of(self, engine: EngineRecord) -> bool:
        model = self._models.get(engine.precision)
        return model is not None and engine.source == hashlib.sha256(model).hexdigest()

    def _still_runs(self, record: SpeedRecord) -> bool:
        kind = without_threads(record.target)
        return any(step.name == f"run {kind}" and step.status == "ok" for step in self._all_steps())

    def _all_quality(self, reference: Quality) -> list[QualityRecord]:
        """Rows of this export's images in place of earlier rows of the same ones."""
        new = [self._row(self._subject.reference_name, reference.restored_db, reference)]
        new += [
            self._row(f"onnx-{precision}", reference.restored_db - step.db_lost, reference)
            for precision, step in self._graph_steps()
            if step.db_lost is not None and f"onnx-{precision}" != self._subject.reference_name
        ]
        replaced = {(row.step, row.dataset) for row in new}
        there = {"torch", *(f"onnx-{precision}" for precision in self._models)}
        kept = [row for row in self._old.quality if row.step in there and (row.step, row.dataset) not in replaced]
        return [*kept, *new]

    def _graph_steps(self) -> Iterable[tuple[str, StepRecord]]:
        """Precision and the step that its graph comes from."""
        by_name = {step.name: step for step in self._steps if step.status == "ok" and step.db_lost is not None}
        for precision, names in (("fp32", ("simplify", "export")), ("fp16", ("fp16",)), ("int8", ("int8",))):
            found = next((by_name[name] for name in names if name in by_name), None)
            if found is not None:
                yield precision, found

    def _row(self, step: str, restored_db: float, reference: Quality) -> QualityRecord:
        return QualityRecord(
            step=step,
            dataset=self._subject.dataset,
            metric="psnr-y" if self._subject.task.metric_channel == "y" else "psnr-rgb",
            degraded_db=reference.degraded_db,
            restored_db=restored_db,
            images=reference.images,
        )

    def _lineage(self) -> dict[str, str]:
        # The file that lineage named before, which the promise was timed with, by its precision.
        promised = promised_kind(self._old).rpartition("-")[2]
        model = self._models.get(promised, self._models["fp32"])
        return {"onnx": digest(model), "calibration": self._calibration()}

    def _calibration(self) -> str:
        if "int8" not in self._models:
            return ""
        kept = self._subject.network is None and "int8" in self._old.models
        return self._old.lineage.calibration if kept else self._subject.calibration_id


def _place(name: str) -> tuple[int, int]:
    """Where a step stands in a table of steps."""
    verb, _, kind = name.partition(" ")
    if not kind:
        return (GRAPH_STEPS.index(name), 0)
    return (len(GRAPH_STEPS) + ("build", "run").index(verb), TARGETS.index(kind) if kind in TARGETS else len(TARGETS))
