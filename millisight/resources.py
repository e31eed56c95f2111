"""`resources`: the cores, memory and disk of a pod that serves some bundles, for people, machines and kustomize."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from millisight.console import print_json, print_table, require
from runtime import MillisightError, find_bundles

if TYPE_CHECKING:
    from serving.footprint import Footprint, Share
    from serving.settings import Settings

CONTAINER = "millisight"
"""Name of the Deployment, and of the container in it."""

Kind: TypeAlias = Literal["deployment", "inference-service"]

# Memory is asked for in steps, so that a few bytes in a bundle do not change a manifest.
_STEP = 128 * 2**20


class SettingsFileError(MillisightError):
    """A file of settings cannot be read, or a line of it is no setting."""


def resources(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="bundles, or folders of bundles; default: runs/ and zoo/"),
    ] = None,
    settings: Annotated[
        list[Path] | None,
        typer.Option(help="file of MILLISIGHT_ variables, one a line; later files win"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="processes of a pod; wins over the files")] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=64, help="batches at a time in a worker; likewise")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="threads of a slot; likewise")] = None,
    target: Annotated[str | None, typer.Option(help="see `millisight targets`; likewise")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
    as_patch: Annotated[bool, typer.Option("--kustomize", help="as a patch for kustomize")] = False,
    kind: Annotated[Kind, typer.Option(help="what --kustomize patches")] = "deployment",
) -> None:
    """Show what a pod needs that serves some bundles: cores, memory and disk, part by part.

    Every part is a bound, so a pod with this limit is not ended for its memory. The service's settings come from the
    files, not from this shell.
    """
    require("starlette", "serve,cpu,openvino")
    from serving.footprint import footprint

    given = {"WORKERS": workers, "SLOTS": slots, "THREADS": threads, "TARGET": target}
    roots = bundles or [root for root in (Path("runs"), Path("zoo")) if root.is_dir()]
    found = footprint(find_bundles(roots), read_settings(settings or [], given))
    if as_patch:
        typer.echo(patch(found, kind), nl=False)
    elif as_json:
        print_json(as_record(found))
    else:
        _print(found)


def read_settings(files: Sequence[Path], given: Mapping[str, object] | None = None) -> "Settings":
    """The settings of a pod, from files as kustomize's `configMapGenerator` reads them.

    Args:
        files: `NAME=value` lines; later files win. Empty lines and those that begin with # mean nothing.
        given: Names without `MILLISIGHT_` to values that win over the files; None leaves a setting alone.

    Raises:
        SettingsFileError: A file cannot be read, or has a line that is no setting.
        SettingsError: A setting is unknown, or its value not allowed.
    """
    from serving.settings import PREFIX, Settings

    variables: dict[str, str] = {}
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsFileError(f"The settings {file} cannot be read: {error}.") from error
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, separator, value = line.partition("=")
            if not separator or not name.startswith(PREFIX):
                raise SettingsFileError(f"Line {number} of {file} is {line[:80]!r}. Write {PREFIX}NAME=value.")
            variables[name] = value
    variables.update({f"{PREFIX}{name}": str(value) for name, value in (given or {}).items() if value is not None})
    return Settings.from_environment(variables)


def quantities(found: "Footprint") -> dict[str, str]:
    """A footprint in the quantities of Kubernetes, rounded up."""
    return {
        "cpu": str(found.cores),
        "memory": _mebibytes(found.memory_bytes),
        "ephemeral-storage": _mebibytes(found.disk_bytes),
    }


def as_record(found: "Footprint") -> dict[str, Any]:
    """A footprint as plain JSON values; sizes in bytes."""

    def parts(shares: "Sequence[Share]") -> list[dict[str, Any]]:
        return [{"name": share.name, "bytes": share.bytes, "why": share.why} for share in shares]

    return {
        "cores": found.cores,
        "memory": {"bytes": found.memory_bytes, "parts": parts(found.memory)},
        "disk": {"bytes": found.disk_bytes, "parts": parts(found.disk)},
        "quantities": quantities(found),
    }


def patch(found: "Footprint", kind: Kind = "deployment") -> str:
    """A patch for kustomize that sets requests and limits of the container.

    They are equal: a pod that uses what it asked for is the last to be evicted, and cores that come and go would break
    the promise of every deadline.

    Args:
        found: What the pod needs.
        kind: `deployment` is merged by names; `inference-service` goes by places, since kustomize knows no names there.
    """
    values = "".join(f'  {name}: "{quantity}"\n' for name, quantity in quantities(found).items())
    both = f"requests:\n{values}limits:\n{values}"
    if kind == "inference-service":
        head = "- op: add\n  path: /spec/predictor/containers/0/resources\n  value:\n"
        return _MADE_BY + head + _indented(both, 4)
    head = f"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {CONTAINER}\nspec:\n  template:\n    spec:\n"
    head += f"      containers:\n        - name: {CONTAINER}\n          resources:\n"
    return _MADE_BY + head + _indented(both, 12)


_MADE_BY = "# Made by `millisight resources --kustomize` from bundles and settings; docs/kubernetes.md tells how.\n"


def _indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line for line in text.splitlines(keepends=True))


def _mebibytes(size: int) -> str:
    return f"{math.ceil(size / _STEP) * _STEP // 2**20}Mi"


def _print(found: "Footprint") -> None:
    wanted = quantities(found)
    rows = [["cores", wanted["cpu"], "the threads of all slots"]]
    for what, shares, total in (
        ("memory", found.memory, wanted["memory"]),
        ("disk", found.disk, wanted["ephemeral-storage"]),
    ):
        rows.append([what, total, "in all, rounded up"])
        rows += [[f"  {share.name}", f"{math.ceil(share.bytes / 2**20)}Mi", share.why] for share in shares]
    print_table(("what", "how much", "why"), rows)
