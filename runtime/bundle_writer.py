"""Writing a bundle: all or nothing, each byte of it covered by the sums that are written last."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from runtime.bundle import Bundle, read_manifest
from runtime.checksums import SUMS_NAME, sums_text
from runtime.errors import BundleError
from runtime.manifest import MANIFEST_NAME, Manifest

__all__ = ["copy_bundle", "write_bundle"]


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
    text = complete.to_json().encode()
    sums = sums_text({**complete.files, MANIFEST_NAME: hashlib.sha256(text).hexdigest()})
    return _write(folder, complete.name, {**files, MANIFEST_NAME: text, SUMS_NAME: sums.encode()})


def copy_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Copy a bundle to the byte, as `write_bundle` writes: all or nothing, replacing one of the same name.

    Raises:
        BundleError: If a file was changed since it was loaded, or for any reason of `write_bundle`.
    """
    contents = {name: bundle.read(name) for name in bundle.manifest.files}
    for path in (bundle.folder / MANIFEST_NAME, bundle.folder / SUMS_NAME):
        if path.is_file():
            contents[path.name] = path.read_bytes()
    return _write(folder, bundle.manifest.name, contents)


def _write(folder: Path, name: str, contents: Mapping[str, bytes]) -> Bundle:
    _check_replaceable(folder, name)
    mark = uuid.uuid4().hex[:12]
    fresh, aside = folder.parent / f".{folder.name}.{mark}.new", folder.parent / f".{folder.name}.{mark}.old"
    try:
        fresh.mkdir(parents=True)
        for name, content in contents.items():
            _write_durably(fresh / name, content)
        _swap(fresh, folder, aside)
    except OSError as error:
        raise BundleError(f"The bundle {folder} could not be written: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
    return Bundle.load(folder)


def _with_hashes(manifest: Manifest, files: Mapping[str, bytes]) -> Manifest:
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    absent = [name for name in manifest.models.values() if name not in hashes]
    if absent:
        raise BundleError(f"A bundle needs its models {', '.join(absent)}; got {', '.join(hashes) or 'no files'}.")
    try:
        return Manifest.model_validate({**manifest.model_dump(), "files": hashes})
    except ValidationError as error:
        raise BundleError(f"These files cannot be a bundle: {error.errors()[0]['msg']}.") from error


def _check_replaceable(folder: Path, name: str) -> None:
    if not os.path.lexists(folder):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise BundleError(f"{folder} exists and is not a bundle. Remove it or choose another folder.")
    other = read_manifest(folder).name
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
