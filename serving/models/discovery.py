"""Which bundles lie under the configured folders, which of them can be read, and in what order they are served."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.bundle import Bundle, bundle_folders, read_manifest
from runtime.errors import BundleError
from serving.errors import SettingsError
from serving.models.families import ROLES
from serving.settings import Settings

__all__ = ["Found", "Place", "Refusal", "Survey", "check_roots", "discover", "fingerprint", "nothing_found", "survey"]

logger = logging.getLogger("bentoml.service.millisight")

Place = tuple[int, tuple[str, ...]]
"""Where a bundle stands in the order: number of its root, then its path below it."""

# A bundle is replaced by two renames, and for a moment in between its folder is not there or not itself.
SECOND_LOOK_S = 0.2


@dataclass(frozen=True)
class Found:
    """A bundle whose every byte was verified.

    Attributes:
        bundle: The bundle.
        digest: The id of all its bytes.
        root: The root it was found under.
        place: Where it stands in the order.
    """

    bundle: Bundle
    digest: str
    root: Path
    place: Place

    @property
    def name(self) -> str:
        """Its name, unique among what one server serves."""
        return self.bundle.manifest.name

    def refused(self, error: Exception) -> Refusal:
        """That it cannot be served after all."""
        return Refusal(self.root, self.bundle.folder, self.name, str(error), self.place)


@dataclass(frozen=True)
class Refusal:
    """A bundle, or a whole root, that cannot be served.

    Attributes:
        root: The root it lies under.
        folder: Its folder; of a root, the root.
        name: Its name, empty if that cannot be read.
        message: What is wrong and what to do, with paths, for the log.
        place: Where it stands in the order; of a root with an empty path.
    """

    root: Path
    folder: Path
    name: str
    message: str
    place: Place

    @property
    def label(self) -> str:
        """Its folder as clients may see it: from the root's own name on."""
        below = self.folder.relative_to(self.root).parts
        return "/".join((self.root.absolute().name, *below))

    @property
    def reason(self) -> str:
        """The message as clients may see it."""
        text = self.message.replace(str(self.folder), self.label)
        return text.replace(str(self.root), self.root.name) if self.root.is_absolute() else text


@dataclass(frozen=True)
class Survey:
    """One look at the roots.

    Attributes:
        found: Name to bundle, in order.
        refused: What cannot be read.
    """

    found: dict[str, Found] = field(default_factory=dict)
    refused: tuple[Refusal, ...] = ()

    def refuses(self, place: Place) -> bool:
        """Whether what stands at a place could not be read, by itself or with its whole root."""
        return any(refusal.place in (place, (place[0], ())) for refusal in self.refused)


def check_roots(settings: Settings) -> None:
    """Makes sure that every root somebody named is there.

    Raises:
        BundleError: One is not.
    """
    for _, root in _roots(settings):
        _check_root(root)


def survey(settings: Settings) -> Survey:
    """Reads and verifies every bundle under the roots; what is broken is told beside what is not."""
    found, refused, seen = dict[str, Found](), list[Refusal](), set[Path]()
    for number, root in _roots(settings):
        try:
            _check_root(root)
            folders = list(bundle_folders(root))
        except (BundleError, OSError) as error:
            refused.append(Refusal(root, root, "", str(error), (number, ())))
            continue
        for folder in folders:
            place: Place = (number, folder.relative_to(root).parts or (".",))
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            try:
                entry = _read(folder, root, place)
            except (BundleError, OSError) as error:
                refused.append(Refusal(root, folder, _name_of(folder), str(error), place))
                continue
            if entry.name in found:
                shown = found[entry.name].bundle.folder
                logger.warning("Bundle %s is hidden by %s, which has the same name.", folder, shown)
                continue
            found[entry.name] = entry
    return Survey(found, tuple(refused))


def discover(settings: Settings) -> list[Bundle]:
    """The bundles to serve, in order, for who wants all of them sound; of two with one name the first is kept.

    Raises:
        SettingsError: There is none.
        BundleError: A root that somebody named does not exist, or a bundle is not sound.
    """
    check_roots(settings)
    seen = survey(settings)
    if seen.refused:
        raise BundleError(seen.refused[0].message)
    if not seen.found:
        raise nothing_found(settings)
    return [found.bundle for found in seen.found.values()]


def nothing_found(settings: Settings) -> SettingsError:
    """The error of a server without bundles."""
    searched = ", ".join(str(root.absolute()) for root in settings.bundles)
    return SettingsError(f"No bundle under {searched}. Set MILLISIGHT_BUNDLES to a folder that holds bundles.")


def fingerprint(settings: Settings) -> frozenset[tuple[str, int, int, int]]:
    """What changes when a bundle does, without reading one: path, inode, size and moment of every file."""
    seen = set()
    for _, root in _roots(settings):
        for path in _entries_below(root):
            try:
                status = path.stat()
            except OSError:
                continue  # gone since it was listed: the next look sees that
            seen.add((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return frozenset(seen)


def _roots(settings: Settings) -> list[tuple[int, Path]]:
    """The roots and their numbers. The default ones may be missing; one that somebody named may not."""
    numbered = list(enumerate(settings.bundles))
    return numbered if "bundles" in settings.model_fields_set else [pair for pair in numbered if pair[1].is_dir()]


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise BundleError(f"There is no folder {root} to look for bundles in.")


def _read(folder: Path, root: Path, place: Place) -> Found:
    try:
        return _read_once(folder, root, place)
    except (BundleError, OSError):
        time.sleep(SECOND_LOOK_S)
        return _read_once(folder, root, place)


def _read_once(folder: Path, root: Path, place: Place) -> Found:
    bundle = Bundle.load(folder)
    name = bundle.manifest.name
    if name in ROLES:
        raise BundleError(
            f"The bundle {folder} is called '{name}', which requests use for a role ({', '.join(ROLES)}). Export it "
            "under another name."
        )
    return Found(bundle, bundle.digest, root, place)


def _name_of(folder: Path) -> str:
    try:
        return read_manifest(folder).name
    except BundleError:
        return ""


def _entries_below(root: Path) -> Iterator[Path]:
    try:
        for folder in bundle_folders(root):
            yield from folder.iterdir()
    except OSError:
        return
