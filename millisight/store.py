"""`store`: bundles in BentoML's model store, from which they can be pushed, pulled and deployed like any other model.

A model of the store is a folder with BentoML's own `model.yaml`, so the bundle lies in a folder of its own below it.
Its version is the beginning of the bundle's digest: the same bytes have the same tag on every machine.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from millisight.console import print_json, print_table, require
from runtime import Bundle, MillisightError, copy_bundle

app = typer.Typer(
    help="Put bundles into BentoML's model store, and get them out of it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_FOLDER = "bundle"
_PRODUCT = "millisight"
_LONGEST = 63  # of a name, in BentoML
_VERSION_DIGITS = 16

JsonOption = Annotated[bool, typer.Option("--json", help="for machines")]


class StoreError(MillisightError):
    """The store lacks the model, or holds something under its tag that is not the bundle it should be."""


@app.command()
def push(bundle: Annotated[Path, typer.Argument(help="a bundle's folder")]) -> None:
    """Copy a bundle into the model store; prints its tag."""
    found = Bundle.load(bundle)
    tag = tag_of(found)
    bentoml = _bentoml()
    try:
        bentoml.models.get(tag)
        done = "is there already"
    except bentoml.exceptions.NotFound:
        with bentoml.models.create(tag, labels=_labels(found), metadata=_metadata(found)) as model:
            copy_bundle(found, Path(model.path) / _FOLDER)
        done = "added"
    _verified(bentoml.models.get(tag))
    typer.echo(f"{tag}  ({done})")


@app.command()
def pull(
    tag: Annotated[str, typer.Argument(help="name:version, or a name for its newest version")],
    folder: Annotated[Path, typer.Argument(help="where to write the bundle; one of the same name is replaced")],
) -> None:
    """Copy a bundle out of the model store, to the byte."""
    bentoml = _bentoml()
    try:
        model = bentoml.models.get(tag)
    except (bentoml.exceptions.BentoMLException, ValueError) as error:  # ValueError: no tag at all
        raise StoreError(
            f"The model store has no '{tag}' ({error}). `millisight store list` shows what it has; from a remote "
            f"store, first: bentoml models pull {tag}"
        ) from error
    written = copy_bundle(_verified(model), folder)
    typer.echo(f"{written.folder}  ({written.manifest.name})")


@app.command(name="list")
def list_bundles(as_json: JsonOption = False) -> None:
    """Show the bundles in the model store."""
    found = [model for model in _bentoml().models.list() if model.info.labels.get("product") == _PRODUCT]
    rows = [
        {
            "tag": str(model.tag),
            "task": model.info.labels["task"],
            "scale": int(model.info.labels["scale"]),
            "default_target": model.info.metadata["default_target"],
            "sha256": model.info.metadata["sha256"],
            "path": str(Path(model.path) / _FOLDER),
            "added": model.info.creation_time.isoformat(timespec="seconds"),
        }
        for model in found
    ]
    if as_json:
        print_json(rows)
        return
    header = ("tag", "task", "scale", "default_target", "added")
    print_table(header, [[str(row[name]) for name in header] for row in rows])


def tag_of(bundle: Bundle) -> str:
    """The tag of a bundle: its name as BentoML allows names, and the beginning of the hash of all its bytes."""
    name = re.sub(r"[^a-z0-9._-]", "-", bundle.manifest.name.lower())[:_LONGEST].strip("._-") or "bundle"
    return f"{name}:{bundle.digest[:_VERSION_DIGITS]}"


def _bentoml() -> Any:
    """BentoML, imported at the moment it is needed and told to report nothing to its makers."""
    require("bentoml", "serve,cpu,openvino")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    import bentoml

    return bentoml


def _labels(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {"product": _PRODUCT, "task": manifest.task, "scale": str(manifest.scale)}


def _metadata(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "sha256": bundle.digest,
        "default_target": manifest.default_target,
        "precisions": list(manifest.models),
        "parameters": manifest.parameters,
        "created": manifest.created,
        "genotype": manifest.lineage.genotype,
        "code_version": manifest.lineage.code_version,
    }


def _verified(model: Any) -> Bundle:
    """The bundle of a stored model, every byte checked, and checked to be the one its tag names.

    Raises:
        StoreError: If the model is no bundle, or another one than it was when it was pushed.
        BundleError: If the bundle is damaged.
    """
    folder = Path(model.path) / _FOLDER
    if model.info.labels.get("product") != _PRODUCT or not folder.is_dir():
        raise StoreError(f"{model.tag} is a model of something else, not a bundle of millisight. Name another tag.")
    bundle = Bundle.load(folder)
    promised = str(model.info.metadata.get("sha256", ""))
    if bundle.digest != promised or str(model.tag) != tag_of(bundle):
        raise StoreError(
            f"{model.tag} holds a whole bundle, but another one than was pushed: its digest is {bundle.digest}, the "
            f"store says {promised or 'nothing'}. Delete it (bentoml models delete {model.tag}) and push the bundle "
            "again."
        )
    return bundle
