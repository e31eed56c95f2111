"""From a config to a served bundle: table, search, derivation, training, export.

Every stage leaves a file and is skipped when its file is there, so a killed run goes on where it was.
"""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from export import (
    compare,
    export_onnx,
    require_parity,
)
from models import (
    Genotype,
    Network,
    build_network,
    content_hash,
    inherit_weights,
)
from runtime import (
    Bundle,
    Lineage,
    Restorer,
    describe_host,
    open_engine,
)
from search.budget import Budget
from search.bundling import write_run_bundle
from search.config import Plan, RunConfig, open_run
from search.derive import fastest_and_slowest
from search.errors import RunError
from search.files import write_json, write_text
from search.latency.measure import RULE, measure_table
from search.latency.model import LatencyModel
from search.latency.table import LatencyTable, Measured
from search.searcher import Searcher, SearchResult
from search.steering import steering
from search.verify import confirm_budget, derive_verified, export_and_measure, measure_network, slowdown
from tasks.batches import BatchStream, ValidationPair, validation_pairs
from tasks.evaluate import evaluate
from tasks.sources import ImageSet, Sample, load_data
from training import Batches, TaughtBatches, load_checkpoint, pick_device, train
from training.checkpoint import save_checkpoint

AUTO_SHARE = 1 / 3


class Run:
    """One run and its folder.

    Args:
        config: What to do.
        out: Folder of all runs; this one gets `out/<id>`, shared latency tables go to `out/tables`.
        table: A latency table to use instead of measuring one.
        command: How the run was started; goes into the model card.

    Raises:
        MillisightError: The config names something unknown, or the folder holds another run.
    """

    def __init__(self, config: RunConfig, out: Path, table: Path | None = None, command: str = "") -> None:
        self.plan = Plan(config)
        self.config = config
        self.folder = out / config.id
        self.command = command
        self._given_table = table
        self._tables = out / "tables"
        open_run(config, self.folder)
        self.device = pick_device(config.device)
        self._images: ImageSet | None = None

    # Images are loaded once, and only if a stage needs them.
    @property
    def images(self) -> ImageSet:
        """Training and validation images."""
        if self._images is None:
            self._images = load_data(self.config.data)
        return self._images

    def pairs(self) -> list[ValidationPair]:
        """Fixed validation pairs; never trained on."""
        preset = self.plan.preset
        return validation_pairs(self.plan.task, self.images.valid, preset.validation_images, preset.validation_crop)

    def table(self) -> LatencyModel:
        """Stage 1: the latency table, measured unless one fits already."""
        plan, path = self.plan, self.folder / "table.json"
        host = describe_host()
        if not path.is_file():
            source = self._given_table or self._shared_table()
            # A table that was asked for by name and is not there is a mistake, not a wish to measure one.
            if self._given_table is None and not source.is_file():
                rule = replace(RULE, max_seconds=plan.preset.measure_seconds)
                sizes = [(plan.size[0] // 2, plan.size[1] // 2), plan.size]
                measure_table(
                    plan.space, plan.space_config, plan.target, sizes, source,
                    seed=self.config.seed, rule=rule, code_version=code_version(),
                )  # fmt: skip
            # Checked before it is kept: a wrong table must not stay in the folder.
            found = LatencyTable.load(source)
            found.require(plan.target, plan.space, plan.space_config, host)
            found.save(path)
        table = LatencyTable.load(path)
        table.require(plan.target, plan.space, plan.space_config, host)
        return LatencyModel(table)

    def _shared_table(self) -> Path:
        host = describe_host()
        key = content_hash([
            self.plan.space_config.model_dump(mode="json"), host.model_dump(mode="json"), list(self.plan.size)
        ])  # fmt: skip
        return self._tables / f"{self.plan.space.name}-{self.plan.target.slug}-{key[:8]}.json"

    def budget(self, model: LatencyModel) -> Budget:
        """The budget, or a third of the way from the fastest to the slowest network where none is given."""
        ms = self.config.budget_ms
        if ms is None:
            fastest, slowest = fastest_and_slowest(model, *self.plan.size)
            # Rounded up: rounding down could leave nothing that fits where the range is narrow.
            ms = round_up_digits(fastest + AUTO_SHARE * (slowest - fastest), 3)
        return Budget(ms, *self.plan.size)

    def search(self, model: LatencyModel, budget: Budget) -> SearchResult:
        """Stage 2: the supernet and the probabilities of its candidates."""
        plan = self.plan
        torch.manual_seed(self.config.seed)
        supernet = plan.space.supernet(plan.searched_config)
        settings = plan.preset.search
        searcher = Searcher(supernet, steering(plan, supernet, model, budget), settings, self.device)
        # Two disjoint parts of the training images: one for the weights, one for the choices.
        parts = split_samples(self.images.train, settings.split)
        weight_batches, raw_batches = (
            self._batches(part, settings.patch, settings.batch, settings.seed, settings.versions) for part in parts
        )
        result = searcher.run(
            weight_batches,
            raw_batches,
            self.folder / "supernet.safetensors",
            self.folder / "search.jsonl",
            identity=f"{self.config.id}|{model.table.id}{self._taught_by()}",
        )
        write_json(self.folder / "probabilities.json", result.probabilities)
        return result

    def _batches(self, samples: tuple[Sample, ...], patch: int, batch: int, seed: int, versions: bool) -> Batches:
        stream = BatchStream(self.plan.task, samples, patch, batch, seed, versions)
        teacher = self._teacher()
        if teacher is None:
            return stream
        engine = open_engine(teacher.folder / teacher.manifest.model_file, self.plan.target)
        return TaughtBatches(stream, engine.run)

    def _teacher(self) -> Bundle | None:
        if self.config.teacher is None:
            return None
        bundle = Bundle.load(Path(self.config.teacher))
        if (bundle.manifest.task, bundle.manifest.scale) != (self.plan.task.name, self.plan.task.scale):
            raise RunError(
                f"teacher {bundle.folder} does {bundle.manifest.task} x{bundle.manifest.scale}, this run does "
                f"{self.plan.task.name} x{self.plan.task.scale}; name a bundle of the same task"
            )
        return bundle

    def _taught_by(self) -> str:
        """Part of a checkpoint's identity: the folder's name alone would not notice that its bundle was replaced."""
        teacher = self._teacher()
        return "" if teacher is None else f"|taught by {teacher.manifest.lineage.onnx}"

    def derive(self, result: Callable[[], SearchResult], model: LatencyModel, budget: Budget) -> Genotype:
        """Stage 3: the genotype, built and timed until it keeps the budget."""
        path = self.folder / "genotype.json"
        if path.is_file():
            return Genotype.load(path)
        space, config = self.plan.space, self.plan.space_config

        def build(picks: dict[str, str]) -> Network:
            return space.build(space.genotype(config, picks))

        def export(network: Network) -> bytes:
            return export_onnx(network, network.multiple, network.scale)

        rule = replace(RULE, max_runs=60, max_seconds=3 * self.plan.preset.measure_seconds)
        measure = export_and_measure(build, export, model, self.plan.target, budget, rule)
        probabilities = result().probabilities
        attempts = derive_verified(probabilities, model, budget, measure)
        last = attempts[-1]
        probs = {choice: probabilities[choice][name] for choice, name in last.picks.items()}
        genotype = space.genotype(config, last.picks, probs).model_copy(
            update={"expected_ms": last.predicted.ms, "table": model.table.id, "seed": self.config.seed}
        )
        write_json(
            self.folder / "derivation.json",
            {
                "budget": str(budget),
                "attempts": [
                    {
                        "aim_ms": a.aim_ms,
                        "genotype": space.genotype(config, a.picks).id,
                        "predicted_ms": a.predicted.ms,
                        "error_ms": a.predicted.error_ms,
                        "measured": a.measured.model_dump(),
                    }
                    for a in attempts
                ],
            },
        )
        write_text(path, genotype.to_json())
        return genotype

    def train(self, genotype: Genotype, result: Callable[[], SearchResult]) -> Network:
        """Stage 4: the trained network (moving average of its weights)."""
        path = self.folder / "weights.safetensors"
        torch.manual_seed(self.config.seed)
        network = build_network(genotype)
        if path.is_file():
            tensors, meta = load_checkpoint(path)
            if meta["genotype"] != genotype.id:
                raise RunError(f"{path} belongs to genotype {meta['genotype']}, not {genotype.id}; delete it")
            network.load_state_dict(tensors)
            return network.to(self.device)
        settings = self.plan.preset.train
        checkpoint = self.folder / "training.safetensors"
        # A training that has begun has its weights in its checkpoint.
        if self.plan.method.initial_weights == "inherited" and not checkpoint.is_file():
            inherit_weights(network, result().supernet, genotype.picks)
        trained = train(
            network,
            self._batches(
                self.images.train, settings.patch, settings.batch, settings.seed, self.plan.preset.train_versions
            ),
            settings,
            checkpoint,
            self.device,
            identity=f"{self.config.id}|{genotype.id}{self._taught_by()}",
        )
        assert isinstance(trained.network, Network)
        save_checkpoint(path, trained.network.state_dict(), {"genotype": genotype.id, "losses": trained.losses})
        return trained.network

    def export(self, network: Network, genotype: Genotype, model: LatencyModel, budget: Budget) -> Bundle:
        """Stage 5: ONNX, gated against torch, timed once more, written as a bundle."""
        plan, folder = self.plan, self.folder / "bundle"
        if folder.is_dir():
            return Bundle.load(folder)
        pairs = self.pairs()
        onnx = export_onnx(network, network.multiple, network.scale)
        engine = open_engine(onnx, plan.target)
        parity = compare(network, engine, plan.task, pairs)
        require_parity(parity, "the ONNX export")
        rule = replace(RULE, max_runs=60, max_seconds=3 * plan.preset.measure_seconds)
        fresh = build_network(genotype)
        untrained = export_onnx(fresh, fresh.multiple, fresh.scale)
        measured = confirm_budget(
            measure_network(onnx, model, plan.target, budget, genotype.id, rule),
            self._derived(),
            budget,
            lambda: slowdown(onnx, untrained, plan.target, budget, rule),
        )
        return write_run_bundle(
            folder,
            plan=plan,
            network=network,
            onnx=onnx,
            engine=engine,
            image=pairs[0].degraded,
            parity=parity,
            measured=measured,
            predicted=model.predict(genotype.picks, *plan.size),
            budget=budget,
            lineage=Lineage(
                genotype=genotype.id,
                table=model.table.id,
                weights=_file_hash(self.folder / "weights.safetensors"),
                onnx=hashlib.sha256(onnx).hexdigest()[:16],
                code_version=code_version(),
                config=content_hash(self.config.model_dump(mode="json")),
            ),
            command=self.command,
        )

    def _derived(self) -> Measured:
        """What the derived network measured before it was trained."""
        content = json.loads((self.folder / "derivation.json").read_text())
        return Measured.model_validate(content["attempts"][-1]["measured"])

    def check_service(self, bundle: Bundle) -> dict[str, float]:
        """Score the finished bundle through `Restorer`, the code that serves; returns dB before and after."""
        restorer = Restorer.load(bundle, self.plan.target)
        quality = evaluate(self.plan.task, self.pairs(), restorer.restore_array, "checking the bundle")
        return {"degraded_db": quality.degraded_db, "restored_db": quality.restored_db}


def split_samples(samples: Sequence[Sample], share: float) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Two disjoint parts, the first with about `share` of the samples, spread evenly; neither is empty.

    Raises:
        RunError: There are not two samples.
    """
    if len(samples) < 2:
        raise RunError(f"a search needs at least 2 training images, one for each split; got {len(samples)}")
    first = [int((n + 1) * share + 1e-9) > int(n * share + 1e-9) for n in range(len(samples))]
    if all(first) or not any(first):
        first = [n == 0 for n in range(len(samples))]
    return (
        tuple(sample for sample, taken in zip(samples, first, strict=True) if taken),
        tuple(sample for sample, taken in zip(samples, first, strict=True) if not taken),
    )


def round_up_digits(value: float, digits: int) -> float:
    """The smallest number of so many significant digits that is not below a positive `value`."""
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(value / unit) * unit:.{digits}g}")


def code_version() -> str:
    """Version of the installed project."""
    return importlib.metadata.version("millisight")


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
