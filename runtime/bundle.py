"""Bundles: folders that can be served. Reading one checks every byte, writing one is all or nothing."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runtime.errors import BundleError
from runtime.manifest import MANIFEST_NAME, Manifest, parse_manifest

__all__ = ["Bundle", "find_bundles", "write_bundle"]

_SEARCH_DEPTH = 4
_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True)
class Bundle:
    """A folder with a manifest and the files it lists. Use `Bundle.load`.

    Attributes:
        folder: Where it is.
        manifest: What it says about itself.
    """

    folder: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """Path of the ONNX file."""
        return self.folder / self.manifest.model_file

    @classmethod
    def load(cls, folder: Path | str) -> "Bundle":
        """Open a bundle and verify the hash of every file.

        Files whose name starts with a dot are left alone: systems and editors drop such files anywhere.

        Raises:
            BundleError: If the manifest is missing or not valid, or a file is missing, damaged or not listed.
        """
        folder = Path(folder)
        manifest = _read_manifest(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file():
                raise BundleError(f"The bundle {folder} lacks its file {name}. Copy or export it again.")
            actual = _hash(path)
            if actual != expected:
                raise BundleError(
                    f"The file {name} of the bundle {folder} is damaged: its SHA-256 is {actual}, the manifest says "
                    f"{expected}. Copy or export it again."
                )
        foreign = sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.name not in manifest.files and entry.name != MANIFEST_NAME and not entry.name.startswith(".")
        )
        if foreign:
            raise BundleError(
                f"The bundle {folder} holds what its manifest does not list: {', '.join(foreign)}. Move it elsewhere."
            )
        if manifest.model_file not in manifest.files:
            raise BundleError(f"The manifest of {folder} lists no {manifest.model_file}. Export the bundle again.")
        return cls(folder=folder, manifest=manifest)


def find_bundles(roots: Sequence[Path]) -> list[Bundle]:
    """Load every bundle in or below some folders (`zoo/*`, `runs/*/bundle`), sorted by path within each root.

    A folder with a `manifest.json` is a bundle; the search does not go into it, nor into hidden folders, nor deeper
    than four levels.

    Raises:
        BundleError: If a root does not exist, or a bundle is not sound.
    """
    found: dict[Path, Bundle] = {}
    for root in roots:
        if not root.is_dir():
            raise BundleError(f"There is no folder {root} to look for bundles in.")
        for folder in _bundle_folders(root, _SEARCH_DEPTH):
            found.setdefault(folder.resolve(), Bundle.load(folder))
    return list(found.values())


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle: beside its place first, then renamed, so that nobody ever sees half of one.

    A bundle of the same name that is there already is replaced. It steps aside by a rename just before the new one
    comes in, because a folder that is not empty cannot be replaced in a single step; if that fails, it returns.

    Args:
        folder: Where it shall be; missing parents are made.
        manifest: What it says; its `files` are replaced by the hashes of `files`.
        files: File name to content, without the manifest.

    Raises:
        BundleError: If `folder` exists and is not a bundle of the same name, if the files do not fit the manifest, or
            if writing fails.
    """
    complete = _with_hashes(manifest, files)
    _check_replaceable(folder, complete.name)
    mark = uuid.uuid4().hex[:12]
    fresh, aside = folder.parent / f".{folder.name}.{mark}.new", folder.parent / f".{folder.name}.{mark}.old"
    try:
        fresh.mkdir(parents=True)
        for name, content in files.items():
            _write_durably(fresh / name, content)
        _write_durably(fresh / MANIFEST_NAME, complete.to_json().encode())
        _swap(fresh, folder, aside)
    except OSError as error:
        raise BundleError(f"The bundle {folder} could not be written: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
    return Bundle.load(folder)


def _with_hashes(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    if manifest.model_file not in hashes:
        raise BundleError(f"A bundle needs its model {manifest.model_file}; got {', '.join(hashes) or 'no files'}.")
    try:
        return Manifest.model_validate({**manifest.model_dump(), "files": hashes})
    except ValidationError as error:
        raise BundleError(f"These files cannot be a bundle: {error.errors()[0]['msg']}.") from error


def _check_replaceable(folder: Path, name: str) -> None:
    if not os.path.lexists(folder):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(f"{folder} exists and is not a bundle. Remove it or choose another folder.")
    other = _read_manifest(folder).name
    if other != name:
        raise BundleError(f"{folder} holds the bundle '{other}', not '{name}'. Remove it or choose another folder.")


def _swap(fresh: Path, folder: Path, aside: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        aside.rename(folder)
        raise


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{folder} is not a bundle: no readable {MANIFEST_NAME} ({error}).") from error
    if len(content) > _MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than {_MAX_MANIFEST_BYTES} bytes; that is no manifest.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 text: {error}.") from error
    return parse_manifest(text, str(path))


def _bundle_folders(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / MANIFEST_NAME).is_file():
        yield folder
    elif depth > 0:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.name.startswith("."):
                yield from _bundle_folders(entry, depth - 1)


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}.") from error
