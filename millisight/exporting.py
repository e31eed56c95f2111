"""`export`: from a run or a bundle to gated files for every target, and the fastest of them."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from millisight.console import print_json, print_table, require
from runtime import Bundle, MillisightError, StepRecord, usable_cores

if TYPE_CHECKING:
    from export import Compiled, Subject
    from search import RunConfig
    from tasks import ImageSet

GENOTYPE = "genotype.json"
PAIRS, CROP = 16, 256
"""Of a bundle without its run: pairs that gates look at, and their side in degraded pixels."""


class ExportSourceError(MillisightError):
    """What was named is neither a finished run nor a bundle, or its parts do not belong together."""


@dataclass(frozen=True)
class Source:
    """A bundle to compile, and the folder of its run if that is at hand.

    Attributes:
        bundle: Folder of the bundle.
        member: Folder with the genotype and the weights, None without a run.
        run: Folder of the run, whose config it is; a family has one for all members.
        label: Of a family's member, else empty.
    """

    bundle: Path
    member: Path | None = None
    run: Path | None = None
    label: str = ""

    def work(self, out: Path | None) -> Path:
        """Where results are kept: in the run, or hidden beside the bundle that is written."""
        place = self.bundle if out is None else out
        if out is None and self.member is not None:
            return self.member / "export"
        return place.resolve().parent / f".{place.resolve().name}.export"


def export(
    source: Annotated[Path, typer.Argument(help="folder of a finished run, or of a bundle", metavar="RUN|BUNDLE")],
    targets: Annotated[
        str, typer.Option(help="auto (all this machine has), or names from `millisight targets`, comma-separated")
    ] = "auto",
    data: Annotated[
        str | None, typer.Option(help="folders of images for the gates, comma-separated; default: the run's own")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many pairs at the gates")] = None,
    out: Annotated[Path | None, typer.Option(help="write the bundle here instead of over the old one")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Make fp16, int8 and engines, gate each against the trained network, time them, record the fastest. Resumes."""
    require("torch", "search,cpu")
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        # torch counts the host's cores, a container may have fewer.
        torch.set_num_threads(usable_cores())
    asked = [slug.strip() for slug in targets.split(",") if slug.strip()]
    sources = find_sources(source)
    done = []
    for entry in sources:
        place = out / entry.label if out is not None and entry.label else out
        compiled = _compile(entry, asked, data, limit, place)
        done.append(compiled)
        if not as_json:
            _print(compiled)
    if as_json:
        print_json({"bundles": [_content(compiled) for compiled in done]})
    if any(compiled.failed for compiled in done):
        raise typer.Exit(1)


def find_sources(folder: Path) -> list[Source]:
    """The bundle in a folder, or those of the run in it: one, or one for each budget of a family.

    Raises:
        ExportSourceError: It is neither, or the run is not finished.
    """
    if (folder / "manifest.json").is_file():
        return [Source(folder)]
    if not (folder / "config.json").is_file():
        raise ExportSourceError(
            f"{folder} is neither a run (it has no config.json) nor a bundle (it has no manifest.json); name a folder "
            "of runs/ or of zoo/"
        )
    from search import Budget

    config = _config(folder)
    if len(config.budgets_ms) > 1:
        labels = [Budget(ms, config.height, config.width).label for ms in config.budgets_ms]
        sources = [Source(folder / label / "bundle", folder / label, folder, label) for label in labels]
    else:
        sources = [Source(folder / "bundle", folder, folder)]
    unfinished = [str(source.bundle) for source in sources if not source.bundle.is_dir()]
    if unfinished:
        raise ExportSourceError(
            f"the run {folder} is not finished: there is no {', '.join(unfinished)}; give its `millisight search` "
            "again, it goes on where it was"
        )
    return sources


def _compile(source: Source, targets: list[str], data: str | None, limit: int | None, out: Path | None) -> "Compiled":
    from export import compile_bundle

    bundle = Bundle.load(source.bundle)
    subject = _subject(source, bundle, data, limit)
    with tqdm(desc=f"exporting {bundle.manifest.name}", unit="step") as bar:

        def on_step(record: StepRecord) -> None:
            bar.set_postfix_str(f"{record.name}: {record.status}")
            bar.update()

        return compile_bundle(
            subject, targets, work=source.work(out), out=out, on_step=on_step, on_start=bar.set_postfix_str
        )


def _subject(source: Source, bundle: Bundle, data: str | None, limit: int | None) -> "Subject":
    """The images and, from a run, the network."""
    from export import Subject
    from export.calibration import calibration_patches
    from tasks import embedded_photographs, get_task, validation_pairs

    manifest = bundle.manifest
    task = get_task(manifest.task, manifest.scale)
    pairs: int = PAIRS
    crop: int | None = CROP
    if source.member is None or source.run is None:
        images = embedded_photographs() if data is None else _load(data)
        dataset, network = "photographs of scikit-image", None
    else:
        from search.config import Plan

        config = _config(source.run)
        preset = Plan(config).preset
        images = _load(config.data if data is None else data, of_run=data is None)
        pairs, crop = preset.validation_images, preset.validation_crop
        dataset, network = "held-out validation images", _network(source.member, bundle)
    if data is not None:
        dataset = f"held-out images of {', '.join(Path(part.split(':')[0]).name for part in data.split(','))}"
    return Subject(
        bundle=bundle,
        task=task,
        pairs=tuple(validation_pairs(task, images.valid, limit or pairs, crop)),
        dataset=dataset,
        calibration=tuple(calibration_patches(task, images.train, manifest.size.multiple)),
        network=network,
        extras={} if source.member is None else {GENOTYPE: (source.member / GENOTYPE).read_bytes()},
    )


def _config(run: Path) -> "RunConfig":
    from search import run_config

    try:
        values = json.loads((run / "config.json").read_text())
    except ValueError as error:
        raise ExportSourceError(
            f"{run / 'config.json'} is not JSON ({error}); is {run} the folder of a run?"
        ) from error
    return run_config(**values)


def _load(data: str | None, of_run: bool = False) -> "ImageSet":
    from tasks import TaskError, load_data

    try:
        return load_data(data)
    except TaskError as error:
        if not of_run:
            raise
        raise ExportSourceError(
            f"the images that the run was trained on are not where they were: {error}. Name folders of such images "
            "with --data"
        ) from error


def _network(member: Path, bundle: Bundle) -> Any:
    """The trained network of a run, which has to be the one that its bundle was made from."""
    from models import Genotype, ModelError, build_network
    from training import load_checkpoint

    weights = member / "weights.safetensors"
    tensors, meta = load_checkpoint(weights)
    try:
        genotype = Genotype.load(member / GENOTYPE)
        network = build_network(genotype)
    except ModelError as error:
        raise ExportSourceError(f"the network of {member} cannot be built: {error}") from error
    lineage = bundle.manifest.lineage
    found = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    if (genotype.id, meta["genotype"], found) != (lineage.genotype, lineage.genotype, lineage.weights):
        raise ExportSourceError(
            f"the bundle {bundle.folder} was made from genotype {lineage.genotype} and weights {lineage.weights}, the "
            f"run {member} holds {genotype.id} and {found}; export the bundle itself, or finish the run again"
        )
    network.load_state_dict(tensors)
    return network.eval()


def _print(compiled: "Compiled") -> None:
    """The tables of steps and of speed, and the choice."""
    manifest = compiled.bundle.manifest
    typer.echo(f"{manifest.name}  ({compiled.bundle.folder})\n")
    print_table(
        ("step", "status", "dB lost", "grey levels", "ms", "s", "why"),
        [
            (
                step.name,
                step.status,
                _number(step.db_lost, "{:.4f}"),
                _number(None if step.max_difference is None else 255 * step.max_difference, "{:.3f}"),
                _number(step.ms, "{:.4g}"),
                f"{step.seconds:.1f}",
                step.why,
            )
            for step in compiled.steps
        ],
    )
    if compiled.speed:
        typer.echo()
        print_table(
            ("target", "batch", "tile", "ms", "ms a picture", "spread"),
            [
                (
                    record.target,
                    str(record.batch),
                    f"{record.width}x{record.height}",
                    f"{record.ms:.4g}",
                    f"{record.ms / record.batch:.4g}",
                    f"{record.spread:.0%}",
                )
                for record in compiled.speed
            ],
        )
    for note in compiled.notes:
        typer.echo(note)
    typer.echo(f"\ndefault: {manifest.default_target} ({manifest.default_reason or 'nothing could be timed here'})\n")


def _content(compiled: "Compiled") -> dict[str, Any]:
    manifest = compiled.bundle.manifest
    return {
        "bundle": str(compiled.bundle.folder),
        "name": manifest.name,
        "steps": [step.model_dump(mode="json") for step in compiled.steps],
        "speed": [record.model_dump(mode="json") for record in compiled.speed],
        "default_target": manifest.default_target,
        "default_reason": manifest.default_reason,
        "notes": list(compiled.notes),
        "failed": compiled.failed,
    }


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    text = form.format(value)
    # A loss of a millionth below zero is no gain.
    return text if float(text) else text.removeprefix("-")
