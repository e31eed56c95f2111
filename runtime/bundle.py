"""Bundles: folders that can be served. Reading one checks every byte. `runtime.bundle_writer` writes them."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.checksums import SUMS_NAME, hash_file, sums_line, sums_text
from runtime.engines.stored import StoredEngine, fits
from runtime.errors import BundleError
from runtime.manifest import MANIFEST_NAME, Manifest, parse_manifest, read_schema_version
from runtime.target import Target

__all__ = ["Bundle", "bundle_folders", "find_bundles", "read_manifest"]

_SEARCH_DEPTH = 4
_MAX_TEXT_BYTES = 2**20


@dataclass(frozen=True)
class Bundle:
    """A folder with a manifest and the files it lists. Use `Bundle.load`.

    Attributes:
        folder: Where it is.
        manifest: What it says about itself.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path | str) -> "Bundle":
        """Open a bundle and verify every byte of it.

        Files whose name starts with a dot are left alone: systems and editors drop such files anywhere. A bundle of
        schema 1 has no `SHA256SUMS`, so its manifest vouches for the other files and nothing for the manifest.

        Raises:
            BundleError: If the manifest is missing or not valid, or a file is missing, damaged or not listed; names it.
        """
        folder = Path(folder)
        content, sums = _read_text(folder / MANIFEST_NAME), None
        if os.path.lexists(folder / SUMS_NAME):
            sums = _read_text(folder / SUMS_NAME)
        # Before it is parsed: damage should be called damage, whatever it does to the JSON.
        manifest_hash = hashlib.sha256(content).hexdigest()
        if sums is not None and sums_line(MANIFEST_NAME, manifest_hash).encode() not in sums:
            raise BundleError(
                f"The file {MANIFEST_NAME} of the bundle {folder} is damaged, or its line in {SUMS_NAME} is: its "
                f"SHA-256 is {manifest_hash}. Copy or export it again."
            )
        text, source = _decode(content, folder), str(folder / MANIFEST_NAME)
        manifest = parse_manifest(text, source)
        if sums is None and read_schema_version(text, source) > 1:
            raise BundleError(f"The bundle {folder} lacks its file {SUMS_NAME}. Copy or export it again.")
        _check_files(folder, manifest)
        if sums is not None and sums != sums_text({**manifest.files, MANIFEST_NAME: manifest_hash}).encode():
            raise BundleError(
                f"The file {SUMS_NAME} of the bundle {folder} is damaged: all other files are whole, and it says "
                "something else of them. Copy or export the bundle again."
            )
        return cls(folder=folder, manifest=manifest)

    @property
    def digest(self) -> str:
        """SHA-256 of the text of `SHA256SUMS`, which a bundle of schema 1 would have too: the id of all its bytes."""
        hashes = {**self.manifest.files, MANIFEST_NAME: hash_file(self.folder / MANIFEST_NAME)}
        return hashlib.sha256(sums_text(hashes).encode()).hexdigest()

    def read(self, name: str) -> bytes:
        """The content of a listed file, verified once more.

        Raises:
            BundleError: If it is not listed, or was changed since the bundle was loaded.
        """
        if name not in self.manifest.files:
            raise BundleError(f"The bundle {self.folder} has no {name}, only {', '.join(self.manifest.files)}.")
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{self.folder / name} cannot be read: {error}.") from error
        _check_hash(self.folder, name, hashlib.sha256(content).hexdigest(), self.manifest.files[name])
        return content

    def model_path(self, precision: str) -> Path:
        """Path of the ONNX file that computes in a precision.

        Raises:
            BundleError: If the bundle has none; says which ones it has, and why not this one.
        """
        models = self.manifest.models
        for known, name in models.items():
            if known == precision:
                return self.folder / name
        raise BundleError(
            f"The bundle {self.folder} has no {precision} file{self.manifest.why_not(precision)}, only "
            f"{', '.join(models)}. `millisight export` makes what can be made."
        )

    def engine_for(self, target: Target) -> StoredEngine | None:
        """The engine that was built ahead of time for a target, or None.

        Of several the first that this machine can use; if it can use none, the first: whoever opens it says why not.
        """
        built = [
            StoredEngine(record, self.folder / record.file, self.manifest.files[record.file])
            for record in self.manifest.engines
            if record.backend == target.backend and record.precision == target.precision
        ]
        if len(built) > 1 and target.missing() is None:
            built.sort(key=lambda engine: bool(fits(engine.record, target)))
        return built[0] if built else None


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
        for folder in bundle_folders(root):
            found.setdefault(folder.resolve(), Bundle.load(folder))
    return list(found.values())


def read_manifest(folder: Path) -> Manifest:
    """What a bundle says about itself, nothing of it verified.

    Raises:
        BundleError: If there is no manifest, or it is not valid.
    """
    path = folder / MANIFEST_NAME
    return parse_manifest(_decode(_read_text(path), folder), str(path))


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, expected in manifest.files.items():
        if not (folder / name).is_file():
            raise BundleError(f"The bundle {folder} lacks its file {name}. Copy or export it again.")
        _check_hash(folder, name, hash_file(folder / name), expected)
    listed = {*manifest.files, MANIFEST_NAME, SUMS_NAME}
    entries = (entry.name for entry in folder.iterdir())
    if foreign := sorted(name for name in entries if name not in listed and not name.startswith(".")):
        raise BundleError(
            f"The bundle {folder} holds what its manifest does not list: {', '.join(foreign)}. Move it elsewhere."
        )
    if absent := [name for name in manifest.needed if name not in manifest.files]:
        raise BundleError(f"The manifest of {folder} lists no {', '.join(absent)}. Export the bundle again.")


def _check_hash(folder: Path, name: str, actual: str, expected: str) -> None:
    if actual != expected:
        raise BundleError(
            f"The file {name} of the bundle {folder} is damaged: its SHA-256 is {actual}, the manifest says "
            f"{expected}. Copy or export it again."
        )


def _read_text(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path.parent} is not a bundle: no readable {path.name} ({error}).") from error
    if len(content) > _MAX_TEXT_BYTES:
        raise BundleError(f"{path} is larger than {_MAX_TEXT_BYTES} bytes; that is no file of a bundle.")
    return content


def _decode(content: bytes, folder: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder / MANIFEST_NAME} is not UTF-8 text: {error}.") from error


def bundle_folders(folder: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    """Folders with a manifest, `folder` itself or below it, as `find_bundles` looks for them; nothing is read."""
    if (folder / MANIFEST_NAME).is_file():
        yield folder
    elif depth > 0:
        for entry in sorted(folder.iterdir()):
            if entry.is_dir() and not entry.name.startswith("."):
                yield from bundle_folders(entry, depth - 1)
