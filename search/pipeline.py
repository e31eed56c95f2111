"""What all networks of a run share: config, folder, images, latency table and search.

Every stage leaves a file and is skipped when its file is there, so a killed run goes on where it was.
"""

import importlib.metadata
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from models import content_hash
from runtime import Bundle, Target, device_name, engine_version, open_engine
from search.budget import Budget
from search.config import Plan, RunConfig, open_run
from search.derive import fastest_and_slowest
from search.elsewhere import home_target
from search.errors import RunError, TableError
from search.files import write_json
from search.latency.measure import RULES, measure_table
from search.latency.model import LatencyModel
from search.latency.table import ELSEWHERE, REMEDY, LatencyTable
from search.searcher import Searcher, SearchResult
from search.steering import steering
from tasks.batches import BatchStream, ValidationPair, validation_pairs
from tasks.sources import ImageSet, Sample, load_data
from training import Batches, TaughtBatches, pick_device
from training.telemetry import SILENT, Telemetry

AUTO_SHARE = 1 / 3


class Run:
    """One run and its folder.

    Args:
        config: What to do.
        out: Folder of all runs; this one gets `out/<id>`, shared latency tables go to `out/tables`.
        table: A latency table to use instead of measuring one; needed for a device elsewhere.
        command: How the run was started; goes into the model card.
        telemetry: Who is told how the run goes.

    Raises:
        MillisightError: The config names something unknown or contradicts itself, or the folder holds another run.
    """

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        table: Path | None = None,
        command: str = "",
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.plan = Plan(config)
        self.config = config
        self.folder = out / config.id
        self.command = command
        self.telemetry = telemetry
        self._given_table = table
        self._tables = out / "tables"
        # Refused before there is a folder, and before anything is measured.
        self.plan.require_size()
        self.device = pick_device(config.device)
        self._teacher()
        if config.elsewhere and table is None and not (self.folder / "table.json").is_file():
            raise RunError(
                f"target {self.plan.target.slug} is elsewhere, so its table cannot be measured here; run `{REMEDY}` on "
                "the device, carry the file home, and name it with --table"
            )
        open_run(config, self.folder)
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

    @property
    def engine_target(self) -> Target:
        """Where networks run in this process: on the target, or on this machine's processor if that is elsewhere."""
        return home_target() if self.config.elsewhere else self.plan.target

    def table(self) -> LatencyModel:
        """Stage 1: the latency table, measured unless one fits already; of a device elsewhere it is given."""
        plan, path = self.plan, self.folder / "table.json"
        if not path.is_file():
            source = self._given_table or self._shared_table()
            # A table that was asked for by name and is not there is a mistake, not a wish to measure one.
            if self._given_table is None and not source.is_file():
                rules = RULES.within(plan.preset.measure_seconds)
                sizes = [(plan.size[0] * part // 8, plan.size[1] * part // 8) for part in (3, 5, 8)]
                measure_table(
                    plan.space, plan.space_config, plan.target, sizes, source,
                    seed=self.config.seed, rules=rules, code_version=code_version(), telemetry=self.telemetry,
                )  # fmt: skip
            # Checked before it is kept: a wrong table must not stay in the folder.
            found = LatencyTable.load(source)
            self._require(found)
            found.save(path)
        table = LatencyTable.load(path)
        if self._given_table is not None and (given := LatencyTable.load(self._given_table)).id != table.id:
            raise RunError(
                f"{self.folder} was begun with table {table.id}, {self._given_table} is table {given.id}; leave "
                "--table out, choose another folder for runs, or delete this one"
            )
        self._require(table)
        return LatencyModel(table)

    def _require(self, table: LatencyTable) -> None:
        """The table has to be of this run, and of this machine unless the run is for a device elsewhere."""
        plan, target = self.plan, self.plan.target
        missing, session = target.missing(), table.session
        if not self.config.elsewhere:
            if missing is not None:
                raise TableError(f"networks for this table cannot be timed here: {missing.error()} Or {ELSEWHERE}")
            table.require(target, plan.space, plan.space_config, device_name(target), engine_version(target))
            return
        table.require(target, plan.space, plan.space_config, None, None)
        if missing is None and (session.device, session.engine) == (device_name(target), engine_version(target)):
            raise RunError(
                f"the table was measured on this very device ({session.device}, {session.engine}), where networks can "
                "be timed; leave --elsewhere out"
            )

    def _shared_table(self) -> Path:
        plan = self.plan
        key = content_hash([
            plan.space_config.model_dump(mode="json"), device_name(plan.target), engine_version(plan.target),
            list(plan.size),
        ])  # fmt: skip
        return self._tables / f"{plan.space.name}-{plan.target.slug}-{key[:8]}.json"

    def budgets(self, model: LatencyModel) -> tuple[Budget, ...]:
        """The budgets, or one a third of the way from the fastest to the slowest network where none is given."""
        found = self.config.budgets_ms
        if not found:
            fastest, slowest = fastest_and_slowest(model, *self.plan.size)
            # Rounded up: rounding down could leave nothing that fits where the range is narrow.
            found = (round_up_digits(fastest + AUTO_SHARE * (slowest - fastest), 3),)
        return tuple(Budget(ms, *self.plan.size) for ms in found)

    def member_folder(self, budget: Budget) -> Path:
        """Where the files of one budget's network lie: the run's own folder, or one of a family's."""
        return self.folder / budget.label if len(self.config.budgets_ms) > 1 else self.folder

    def search(self, model: LatencyModel, budget: Budget) -> SearchResult:
        """Stage 2: the supernet and the probabilities of its candidates.

        Args:
            model: Of the run's table.
            budget: What the search pays for; of a family the middle one (see `middle_budget`).
        """
        plan = self.plan
        torch.manual_seed(self.config.seed)
        supernet = plan.space.supernet(plan.searched_config)
        settings = plan.preset.search
        searcher = Searcher(supernet, steering(plan, supernet, model, budget), settings, self.device)
        # Two disjoint parts of the training images: one for the weights, one for the choices.
        parts = split_samples(self.images.train, settings.split)
        weight_batches, raw_batches = (
            self.batches(part, settings.patch, settings.batch, settings.seed, settings.versions) for part in parts
        )
        result = searcher.run(
            weight_batches,
            raw_batches,
            self.folder / "supernet.safetensors",
            self.folder / "search.jsonl",
            identity=f"{self.config.id}|{model.table.id}{self.taught_by()}",
            telemetry=self.telemetry,
        )
        write_json(self.folder / "probabilities.json", result.probabilities)
        return result

    def batches(self, samples: tuple[Sample, ...], patch: int, batch: int, seed: int, versions: bool) -> Batches:
        """Degraded patches and what they shall become: the clean ones, or what the teacher makes of them."""
        stream = BatchStream(self.plan.task, samples, patch, batch, seed, versions)
        teacher = self._teacher()
        if teacher is None:
            return stream
        engine = open_engine(teacher.model_path(self.engine_target.precision), self.engine_target)
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

    def taught_by(self) -> str:
        """Part of a checkpoint's identity: the folder's name alone would not notice that its bundle was replaced."""
        teacher = self._teacher()
        return "" if teacher is None else f"|taught by {teacher.manifest.lineage.onnx}"


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
