"""`keys`: API keys of a server, in the file that MILLISIGHT_API_KEYS names.

A running server reads the file again when it changes, so keys come and go without a restart.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millisight.console import print_json, print_table, require
from runtime import MillisightError

if TYPE_CHECKING:
    from serving.guard.keys import ApiKey

app = typer.Typer(
    help="Make, list and revoke the API keys of a server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

FileOption = Annotated[
    Path, typer.Option("--file", envvar="MILLISIGHT_API_KEYS", help="the key file; made by the first key")
]
NameArgument = Annotated[str, typer.Argument(help="who uses the key: letters, digits, dot, dash, underscore")]
RoleOption = Annotated[Literal["restore", "admin"], typer.Option(help="admin may also load, unload and reload models")]
RateOption = Annotated[float | None, typer.Option(help="requests a minute over all workers; no limit by default")]
BurstOption = Annotated[int | None, typer.Option(help="requests at once after a pause; those of a minute by default")]
JsonOption = Annotated[bool, typer.Option("--json", help="for machines")]


class KeyNameError(MillisightError):
    """A key of this name is there already, or is not there."""


@app.command()
def create(
    name: NameArgument,
    file: FileOption,
    role: RoleOption = "restore",
    rate: RateOption = None,
    burst: BurstOption = None,
) -> None:
    """Make a key and print it: this once, since only its hash is kept."""
    keys = _read(file)
    from serving.guard.keys import new_key, write_keys

    if any(entry.name == name for entry in keys):
        raise KeyNameError(f"{file} has a key {name!r} already. Revoke it first, or take another name.")
    key, entry = new_key(name, role, rate, burst)
    write_keys(file, (*keys, entry))
    typer.echo(key)
    typer.echo(f"Keep it now: {file} holds only its hash.", err=True)


@app.command(name="list")
def list_keys(file: FileOption, as_json: JsonOption = False) -> None:
    """Show the keys of a file: everything but the keys themselves."""
    rows = [entry.model_dump(mode="json", exclude={"sha256"}) for entry in _read(file)]
    if as_json:
        print_json(rows)
        return
    header = ("name", "role", "rate_per_minute", "burst", "created")
    print_table(header, [["-" if row[column] is None else str(row[column]) for column in header] for row in rows])


@app.command()
def revoke(name: NameArgument, file: FileOption) -> None:
    """Take a key out of the file; servers refuse it from about a second later."""
    keys = _read(file)
    from serving.guard.keys import write_keys

    kept = tuple(entry for entry in keys if entry.name != name)
    if len(kept) == len(keys):
        names = ", ".join(entry.name for entry in keys) or "none"
        raise KeyNameError(f"{file} has no key {name!r}. Keys: {names}.")
    write_keys(file, kept)
    typer.echo(f"{name} revoked")


def _read(file: Path) -> "tuple[ApiKey, ...]":
    require("starlette", "serve,cpu,openvino")  # the guard's package stands on it
    from serving.guard.keys import read_keys

    return read_keys(file) if file.exists() else ()
