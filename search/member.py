"""One network of a run, for one budget: derived, trained, exported, checked.

A run with one budget has one member, whose files lie in the run's own folder; a family has one folder for each.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from export import Parity, compare, export_onnx, require_parity
from models import Genotype, Network, build_network, content_hash, inherit_weights
from runtime import Bundle, Engine, Lineage, Restorer, StabilityRule, Target, open_engine
from search.budget import Budget
from search.bundling import write_run_bundle
from search.contract import Attempt, derive_verified
from search.elsewhere import PREDICTED, Forecast, derive_predicted, home_target
from search.errors import RunError
from search.files import write_json, write_text
from search.latency.model import LatencyModel
from search.latency.table import Measured, Session
from search.pipeline import Run, code_version
from search.report import member_report
from search.searcher import SearchResult
from search.verify import RULE, confirm_budget, export_and_measure, measure_network, slowdown
from tasks.batches import ValidationPair
from tasks.evaluate import evaluate
from training import load_checkpoint, train
from training.checkpoint import save_checkpoint
from training.telemetry import NetworkSeconds, Progress

WEIGHTS = "weights.safetensors"


class Member:
    """One budget's network and its folder.

    Args:
        run: What is shared: the plan, the images, the table, the search.
        model: Of the run's table.
        budget: Of this network.
        result: Gives the search's result; called only by stages that need it.
    """

    def __init__(self, run: Run, model: LatencyModel, budget: Budget, result: Callable[[], SearchResult]) -> None:
        self.run, self.model, self.budget, self.result = run, model, budget, result
        self.plan = run.plan
        self.folder = run.member_folder(budget)

    def derive(self) -> Genotype:
        """Stage 3: the genotype, built and timed until it keeps the budget; predicted to, for a device elsewhere."""
        path = self.folder / "genotype.json"
        if path.is_file():
            genotype = Genotype.load(path)
            self._tell(genotype, self._derived_ms)
            return genotype
        space, config = self.plan.space, self.plan.space_config

        def build(picks: dict[str, str]) -> Network:
            self.run.telemetry.report(lambda: Progress(0, 1))
            return space.build(space.genotype(config, picks))

        probabilities = self.result().probabilities
        attempts: tuple[Attempt | Forecast, ...]
        if self.run.config.elsewhere:
            attempts, chosen = (derive_predicted(probabilities, self.model, self.budget),), 0
            note = attempts[0].note
        else:
            measure = export_and_measure(build, self._onnx, self.model, self.plan.target, self.budget, self._rule)
            derivation = derive_verified(probabilities, self.model, self.budget, measure)
            attempts, chosen, note = derivation.attempts, derivation.chosen, derivation.note
        best = attempts[chosen]
        probs = {choice: probabilities[choice][name] for choice, name in best.picks.items()}
        genotype = space.genotype(config, best.picks, probs).model_copy(
            update={"expected_ms": best.predicted.ms, "table": self.model.table.id, "seed": self.run.config.seed}
        )
        content = {
            "budget": str(self.budget),
            "chosen": chosen,
            "note": note,
            "attempts": [self._record(attempt) for attempt in attempts],
        }
        write_json(self.folder / "derivation.json", content)
        write_text(path, genotype.to_json())
        self._tell(genotype, self._derived_ms)
        return genotype

    def train(self, genotype: Genotype) -> Network:
        """Stage 4: the trained network (moving average of its weights).

        A training follows from the run's config and the genotype alone. So if another member has the same genotype and
        is trained, its weights are these.
        """
        path, settings = self.folder / WEIGHTS, self.plan.preset.train
        torch.manual_seed(self.run.config.seed)
        network = build_network(genotype)
        if not path.is_file():
            for twin in sorted(self.run.folder.glob(f"*/{WEIGHTS}")):
                tensors, meta = load_checkpoint(twin)
                if meta["genotype"] == genotype.id:
                    save_checkpoint(path, tensors, meta)
                    break
        if path.is_file():
            tensors, meta = load_checkpoint(path)
            if meta["genotype"] != genotype.id:
                raise RunError(f"{path} belongs to genotype {meta['genotype']}, not {genotype.id}; delete it")
            network.load_state_dict(tensors)
            steps = settings.steps + sum(settings.restarts)
            self.run.telemetry.report(lambda: Progress(steps, steps), force=True)
            return network.to(self.run.device)
        checkpoint = self.folder / "training.safetensors"
        # A training that has begun has its weights in its checkpoint.
        if self.plan.method.initial_weights == "inherited" and not checkpoint.is_file():
            inherit_weights(network, self.result().supernet, genotype.picks)
        images, versions = self.run.images.train, self.plan.preset.train_versions
        trained = train(
            network,
            self.run.batches(images, settings.patch, settings.batch, settings.seed, versions),
            settings,
            checkpoint,
            self.run.device,
            identity=f"{self.run.config.id}|{genotype.id}{self.run.taught_by()}",
            telemetry=self.run.telemetry,
        )
        assert isinstance(trained.network, Network)
        save_checkpoint(path, trained.network.state_dict(), {"genotype": genotype.id, "losses": trained.losses})
        return trained.network

    def export(self, network: Network, genotype: Genotype) -> Bundle:
        """Stage 5: ONNX, gated against torch, timed once more unless its device is elsewhere, written as a bundle.

        On a processor that stands in for a device elsewhere an fp16 file is computed in fp32 between casts.
        """
        plan, budget, folder = self.plan, self.budget, self.folder / "bundle"
        if folder.is_dir():
            return Bundle.load(folder)
        pairs, models, parities = self.run.pairs(), {}, {}
        # fp32 always: it runs anywhere, and all other graphs are made from it and judged beside it.
        for precision in dict.fromkeys(("fp32", plan.target.precision)):
            where = self.run.engine_target if precision == plan.target.precision else home_target()
            onnx, engine, parity = self._gate(network, pairs, precision, where)
            models[precision], parities[precision] = onnx, parity
        return write_run_bundle(
            folder,
            plan=plan,
            network=network,
            genotype=genotype,
            models=models,
            engine=engine,
            image=pairs[0].degraded,
            parities=parities,
            measured=self._measured(onnx, genotype),
            predicted=self.model.predict(genotype.picks, *plan.size),
            budget=budget,
            lineage=Lineage(
                genotype=genotype.id,
                table=self.model.table.id,
                weights=_hash((self.folder / WEIGHTS).read_bytes()),
                onnx=_hash(onnx),
                code_version=code_version(),
                config=content_hash(self.run.config.model_dump(mode="json")),
            ),
            command=self.run.command,
        )

    def report(self, bundle: Bundle, genotype: Genotype) -> dict[str, Any]:
        """Score the finished bundle through `Restorer`, the code that serves, and write `report.json`."""
        restorer = Restorer.load(bundle, self.run.engine_target)
        quality = evaluate(self.plan.task, self.run.pairs(), restorer.restore_array, "checking the bundle")
        self._tell(genotype, lambda: bundle.manifest.latency[0].measured_ms)
        self.run.telemetry.report(lambda: Progress(1, 1, validation_db=quality.restored_db), force=True)
        predicted = self.model.predict(genotype.picks, self.budget.height, self.budget.width)
        derivation = self._derivation()
        content = member_report(
            bundle,
            genotype,
            predicted,
            self.budget,
            quality,
            attempts=derivation["attempts"],
            note=derivation["note"],
        )
        write_json(self.folder / "report.json", content)
        return content

    @property
    def _rule(self) -> StabilityRule:
        return replace(RULE, max_seconds=6 * self.plan.preset.measure_seconds)

    def _onnx(self, network: Network) -> bytes:
        return export_onnx(network, network.multiple, network.scale, self.plan.target.precision)

    def _gate(
        self, network: Network, pairs: list[ValidationPair], precision: str, where: Target
    ) -> tuple[bytes, Engine, Parity]:
        """The export, opened on a target, and what it does to the images: nothing to speak of.

        Raises:
            GateError: It does not compute what the network computes.
        """
        onnx = export_onnx(network, network.multiple, network.scale, precision)
        engine = open_engine(onnx, where)
        parity = compare(network, engine, self.plan.task, pairs)
        require_parity(parity, f"the ONNX export in {precision}", precision)
        return onnx, engine, parity

    def _measured(self, onnx: bytes, genotype: Genotype) -> Measured | Session:
        """Milliseconds of the trained file, within the budget; for a device elsewhere the table's sitting there."""
        if self.run.config.elsewhere:
            return self.model.table.session
        target, budget = self.plan.target, self.budget
        return confirm_budget(
            measure_network(onnx, self.model, target, budget, genotype.id, self._rule),
            Measured.model_validate(self._derivation()["measured"]),
            budget,
            lambda: slowdown(onnx, self._onnx(build_network(genotype)), target, budget, self._rule),
        )

    def _tell(self, genotype: Genotype, measured_ms: Callable[[], float | None]) -> None:
        """Tell what this network takes, if anybody listens."""
        budget = self.budget

        def times() -> NetworkSeconds:
            predicted, measured = self.model.predict(genotype.picks, budget.height, budget.width), measured_ms()
            return NetworkSeconds(
                budget=budget.label,
                allowed=budget.ms / 1000.0,
                predicted=predicted.ms / 1000.0,
                measured=None if measured is None else measured / 1000.0,
            )

        self.run.telemetry.network(times)

    def _derived_ms(self) -> float | None:
        """Milliseconds of the network when it was derived; None if it was not timed."""
        measured = self._derivation()["measured"]
        return None if measured is None else float(measured["ms"])

    def _record(self, attempt: Attempt | Forecast) -> dict[str, Any]:
        found: dict[str, Any] = {"verdict": PREDICTED}
        if isinstance(attempt, Attempt):
            found = {"measured": attempt.measured.model_dump(), "verdict": attempt.verdict}
        return {
            "aim_ms": attempt.aim_ms,
            "at_least_ms": attempt.at_least_ms,
            "genotype": self.plan.space.genotype(self.plan.space_config, attempt.picks).id,
            "predicted_ms": attempt.predicted.ms,
            "error_ms": attempt.predicted.error_ms,
            **found,
        }

    def _derivation(self) -> dict[str, Any]:
        """What the derived network measured before it was trained, after how many attempts, and the note."""
        content = json.loads((self.folder / "derivation.json").read_text())
        attempts = content["attempts"]
        return {
            "measured": attempts[content["chosen"]].get("measured"),
            "attempts": len(attempts),
            "note": content["note"],
        }


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
