"""The steps that make engines and run graphs on targets; and what all of them take, measured in turns."""

import json
from collections.abc import Mapping, Sequence

from export.ahead import Profile, build_ahead
from export.choose import RULES, Candidate, Choice, Timed, choose_default, time_candidates
from export.gates import Gate, whole
from export.graphs import Subject, digest
from export.steps import Step, StepStore
from export.targets import PlannedTarget, promised_kind
from runtime import (
    EngineError,
    EngineRecord,
    SpeedRecord,
    StabilityRule,
    StepRecord,
    Target,
    device_name,
    engine_version,
    open_engine,
)
from runtime.engines.stored import StoredEngine
from runtime.host import package_versions


class EngineSteps:
    """Builds engines, gates and times targets.

    Args:
        subject: What is compiled.
        store: Where results are kept.
        gate: Of the subject.
        inputs: What all results follow from.
        models: Precision to its graph.
    """

    def __init__(
        self, subject: Subject, store: StepStore, gate: Gate, inputs: Mapping[str, str], models: Mapping[str, bytes]
    ) -> None:
        self._subject, self._store, self._gate, self._inputs = subject, store, gate, inputs
        self._models = models
        self.steps: list[StepRecord] = []
        self.engines: dict[str, tuple[EngineRecord, bytes]] = {}
        self._candidates: list[Candidate] = []

    def build(self, planned: PlannedTarget) -> None:
        """`build <kind>`: an engine that a machine with the right GPU and version can load."""
        target, name = planned.target, f"build {planned.target.kind}"
        model = self._models.get(target.precision)
        if model is None:
            self._skip(name, f"there is no {target.precision} graph")
            return
        inputs = {"model": digest(model), "tile": list(self._subject.bundle.manifest.size.tile)}
        inputs |= package_versions(("tensorrt-rtx", "millisight"))

        def work() -> Step:
            try:
                content, engine = build_ahead(model, target, profile_of(self._subject))
            except EngineError as error:
                return Step(StepRecord(name=name, status="failed", why=str(error), source=digest(model)))
            record = StepRecord(
                name=name,
                status="ok",
                why=f"for compute capabilities {', '.join(engine.capabilities)}",
                file=engine.file,
                source=digest(model),
            )
            return Step(record, content, engine)

        step = self._store.do(name, inputs, work)
        self.steps.append(step.record)
        if step.ok and step.engine is not None:
            self.engines[target.kind] = (step.engine, step.content)

    def run(self, planned: PlannedTarget) -> None:
        """`run <kind>`: the graph on this very engine, against the reference."""
        target, name = planned.target, f"run {planned.target.kind}"
        model = self._models.get(target.precision)
        if model is None:
            self._skip(name, f"there is no {target.precision} graph")
            return
        if planned.lacks:
            self._skip(name, f"not run here: {planned.lacks}")
            return
        source, subject, stored = digest(model), self._subject, self._stored(target)
        inputs = {**self._inputs, "model": source, **_place(target)}

        def work() -> Step:
            try:
                engine = open_engine(model, target, stored)
                parity = self._gate.check(whole(engine, subject.multiple, subject.scale))
            except EngineError as error:
                return Step(StepRecord(name=name, status="failed", why=str(error), source=source))
            return Step(self._gate.record(name, target.precision, parity, source=source))

        step = self._store.do(name, inputs, work)
        self.steps.append(step.record)
        if step.ok:
            self._candidates.append(Candidate(target, model, step.record.db_lost or 0.0, stored))

    def time(self, rules: Mapping[int, StabilityRule]) -> tuple[list[SpeedRecord], Choice | None, list[str]]:
        """Milliseconds of every target that passed its gate, the default among them, and what was left out and why.

        Their `run` steps say what a tile takes from then on.

        Args:
            rules: See `time_candidates`.
        """
        if not self._candidates:
            return [], None, []
        manifest, candidates = self._subject.bundle.manifest, self._candidates
        inputs = {
            "subjects": [{"model": digest(c.model), **_place(c.target)} for c in candidates],
            "tile": list(manifest.size.tile),
            "rules": {str(batch): str(rule) for batch, rule in rules.items()},
        }

        def work() -> Step:
            timed, left_out = time_candidates(candidates, manifest.size.tile, rules=rules)
            said = {"timed": [_said(entry) for entry in timed], "left_out": left_out}
            return Step(StepRecord(name="time", status="ok"), json.dumps(said).encode())

        said = json.loads(self._store.do("time", inputs, work).content)
        timed = [Timed(SpeedRecord.model_validate(entry["record"]), entry["error"]) for entry in said["timed"]]
        single = {entry.record.target: entry.record.ms for entry in timed if entry.record.batch == 1}
        ms = {f"run {candidate.target.kind}": single.get(candidate.target.slug) for candidate in candidates}
        self.steps = [step.model_copy(update={"ms": ms.get(step.name)}) for step in self.steps]
        records = [entry.record for entry in timed]
        return records, self._choice(timed, bool(single)), said["left_out"]

    def _choice(self, timed: Sequence[Timed], any_single: bool) -> Choice | None:
        """The fastest; but a bundle that was made for a device elsewhere stays with it, which nothing here beats."""
        promised = promised_kind(self._subject.bundle.manifest)
        if Target.parse(promised).missing() is not None:
            return Choice(promised, f"made for {promised}, which is not here: nothing was compared with it")
        return choose_default(timed, self._candidates, promised) if any_single else None

    def _stored(self, target: Target) -> StoredEngine | None:
        """The engine that was just built for a target, where the store has put it."""
        if target.kind not in self.engines:
            return None
        record, _ = self.engines[target.kind]
        return StoredEngine(record, self._store.path(f"build {target.kind}"))

    def _skip(self, name: str, why: str) -> None:
        self.steps.append(self._store.say(StepRecord(name=name, status="skipped", why=why)).record)


def _said(timed: Timed) -> dict[str, object]:
    return {"record": timed.record.model_dump(mode="json"), "error": timed.error}


def _place(target: Target) -> dict[str, str]:
    return {"target": target.slug, "engine": engine_version(target), "device": device_name(target)}


def profile_of(subject: Subject) -> Profile:
    """The batches that a bundle's engine takes: up to eight tiles at once, and smaller ones of small pictures."""
    size = subject.bundle.manifest.size
    least = -(-size.minimum // size.multiple) * size.multiple
    return Profile((1, least, least), (1, *size.tile), (max(RULES), *size.tile))
