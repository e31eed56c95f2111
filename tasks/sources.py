"""Where training images come from: folders of pictures, or what ships with the installation.

Pictures are held decoded in memory as uint8 (H, W, 3): a few hundred megabytes for the usual training sets, and a
random crop then costs microseconds.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from tasks.errors import TaskError
from tasks.leaves import dead_leaves

__all__ = ["ImageSet", "Layout", "Sample", "embedded_images", "embedded_photographs", "load_data", "split_samples"]

Layout = Literal["clean", "pairs", "side-by-side-clean-first", "side-by-side-degraded-first"]

# (degraded, clean) subfolders, as public data sets name them; compared in lower case.
_PAIR_FOLDERS: tuple[tuple[str, str], ...] = (
    ("input", "target"),
    ("rainy", "clean"),
    ("rain", "norain"),
    ("noisy", "clean"),
    ("lr", "hr"),
    ("lq", "gt"),
)
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})

# Photographs inside the scikit-image wheel (no download). The right view of the motorcycle is left out: it shows the
# scene of the left one, and the two could fall on both sides of the split.
_WHEEL_TRAIN = ("astronaut.png", "brick.png", "coffee.png", "grass.png", "motorcycle_left.png")
# One each of a grey scene, fur, fine texture and a smooth sky.
_WHEEL_VALID = ("camera.png", "chelsea.png", "gravel.png", "rocket.jpg")
_LEAVES_COUNT = 24
_LEAVES_SIZE = 320
_LEAVES_SEED = 20_010_401

_VALID_SHARE = 10  # one in ten
_VALID_MINIMUM = 4
_PROGRESS_FROM = 50  # files; below that loading is over before a bar is drawn


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture, with its degraded version where the data set has one.

    Attributes:
        name: unique within its `ImageSet`; seeds its validation degradation and decides its split.
        clean: uint8 (H, W, 3), RGB, read-only.
        degraded: uint8 (h, w, 3), the same view, or None where the task degrades the clean picture itself.
    """

    name: str
    clean: NDArray[np.uint8]
    degraded: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "clean", _read_only(self.clean, self.name))
        if self.degraded is not None:
            object.__setattr__(self, "degraded", _read_only(self.degraded, self.name))


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Pictures to train on and pictures to choose by; no picture is in both."""

    train: tuple[Sample, ...]
    valid: tuple[Sample, ...]


def load_data(spec: str | None = None) -> ImageSet:
    """Load training and validation pictures.

    Args:
        spec: None or empty for the embedded pictures; otherwise comma-separated folders. A folder's layout is
            detected, or forced as ``folder:layout``:

            - ``clean``: every picture below the folder is clean; the task degrades it;
            - ``pairs``: a subfolder of degraded and one of clean pictures with equal file names (``input``/``target``,
              ``rainy``/``clean``, ``rain``/``norain``, ``noisy``/``clean``, ``LR``/``HR``, ``lq``/``gt``);
            - ``side-by-side-clean-first`` and ``side-by-side-degraded-first``: one file holds both halves. These
              cannot be detected and must be named.

    Raises:
        TaskError: a folder or layout does not exist, holds no pictures, a picture cannot be read, a pair is
            incomplete; or scikit-image is missing for the embedded pictures.
    """
    if spec is None or not spec.strip():
        return embedded_images()
    samples: list[Sample] = []
    for entry in spec.split(","):
        if entry.strip():
            samples.extend(_load_folder(*_parse_entry(entry.strip())))
    return split_samples(_with_unique_names(samples))


def embedded_photographs() -> ImageSet:
    """The photographs of the scikit-image wheel: free, so that what is made from them may be shown and shipped.

    Raises:
        TaskError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise TaskError(
            "the embedded training pictures come with scikit-image, which is not installed; "
            "run `pip install '.[search]'` or name a folder of pictures"
        )
    folder = Path(found.submodule_search_locations[0]) / "data"
    train, valid = (
        tuple(Sample(f"photo/{name}", _read_rgb(folder / name)) for name in names)
        for names in (_WHEEL_TRAIN, _WHEEL_VALID)
    )
    return ImageSet(train=train, valid=valid)


def embedded_images() -> ImageSet:
    """Photographs of the scikit-image wheel and seeded dead leaves; a few seconds, nothing is downloaded or stored.

    Validation is by photographs only: they are what a network is for.

    Raises:
        TaskError: scikit-image is not installed.
    """
    photographs = embedded_photographs()
    leaves = tuple(
        Sample(f"leaves/{index:02d}", dead_leaves(np.random.default_rng([_LEAVES_SEED, index]), _LEAVES_SIZE))
        for index in range(_LEAVES_COUNT)
    )
    return ImageSet(train=(*photographs.train, *leaves), valid=photographs.valid)


def split_samples(samples: Sequence[Sample]) -> ImageSet:
    """Set aside pictures to validate on, chosen by the hash of their names.

    Of every folder (the first part of the names) about one picture in ten, four at least, never more than half.
    Pictures with an identical clean version (several degraded versions of one background) stay on one side.

    Raises:
        TaskError: there are fewer than two different clean pictures.
    """
    backgrounds: dict[bytes, list[Sample]] = {}
    for sample in samples:
        content = hashlib.sha256(str(sample.clean.shape).encode() + sample.clean.tobytes()).digest()
        backgrounds.setdefault(content, []).append(sample)
    if len(backgrounds) < 2:
        raise TaskError(f"need at least two different clean pictures to train and validate, got {len(backgrounds)}")
    names = {content: min(sample.name for sample in group) for content, group in backgrounds.items()}
    order = sorted(names, key=lambda content: hashlib.sha256(names[content].encode()).digest())
    folders: dict[str, list[bytes]] = {}
    for content in order:
        folders.setdefault(names[content].partition("/")[0], []).append(content)
    held_out: set[bytes] = set()
    for members in folders.values():
        held_out.update(members[: min(max(_VALID_MINIMUM, len(members) // _VALID_SHARE), len(members) // 2)])
    held_out = held_out or {order[0]}  # every folder holds a single picture
    return ImageSet(
        train=tuple(s for content, group in backgrounds.items() if content not in held_out for s in group),
        valid=tuple(s for content, group in backgrounds.items() if content in held_out for s in group),
    )


def _read_only(picture: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """A view that cannot be written through: one careless in-place operation would spoil every later epoch."""
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape or picture.dtype != np.uint8:
        raise TaskError(f"{name}: a picture is uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    view = picture.view()
    view.setflags(write=False)
    return view


def _parse_entry(entry: str) -> tuple[Path, Layout]:
    """``folder`` or ``folder:layout`` -> folder that exists, layout."""
    path, separator, suffix = entry.rpartition(":")
    for layout in get_args(Layout):
        if separator and suffix == layout:
            return _existing(Path(path)), layout
    if separator and not Path(entry).exists() and Path(path).is_dir():
        raise TaskError(f"unknown layout {suffix!r} in {entry!r}; there are {', '.join(get_args(Layout))}")
    folder = _existing(Path(entry))
    return folder, "clean" if _pair_folders(folder) is None else "pairs"


def _existing(folder: Path) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        raise TaskError(f"{folder} is not a folder; give folders of pictures, separated by commas")
    return folder


def _pair_folders(folder: Path) -> tuple[Path, Path] | None:
    """The (degraded, clean) subfolders, or None."""
    children = {child.name.lower(): child for child in folder.iterdir() if child.is_dir()}
    for degraded, clean in _PAIR_FOLDERS:
        if degraded in children and clean in children:
            return children[degraded], children[clean]
    return None


def _load_folder(folder: Path, layout: Layout) -> Iterator[Sample]:
    if layout == "pairs":
        yield from _load_pairs(folder)
        return
    files = _image_files(folder)
    prefix = folder.resolve().name
    for file in tqdm(files, desc=f"loading {prefix}", unit="file", disable=len(files) <= _PROGRESS_FROM):
        name = f"{prefix}/{file.relative_to(folder).as_posix()}"
        picture = _read_rgb(file)
        if layout == "clean":
            yield Sample(name, picture)
            continue
        height, width = picture.shape[:2]
        if width % 2 or width < 2:
            raise TaskError(f"{file} is {height}x{width}: a side-by-side picture has two halves of equal width")
        left, right = picture[:, : width // 2].copy(), picture[:, width // 2 :].copy()
        if layout == "side-by-side-clean-first":
            yield Sample(name, clean=left, degraded=right)
        else:
            yield Sample(name, clean=right, degraded=left)


def _load_pairs(folder: Path) -> Iterator[Sample]:
    pair = _pair_folders(folder)
    if pair is None:
        known = ", ".join(f"{degraded}/ + {clean}/" for degraded, clean in _PAIR_FOLDERS)
        raise TaskError(f"{folder} has no pair of subfolders; one of these is needed: {known}")
    degraded = {file.relative_to(pair[0]).with_suffix("").as_posix(): file for file in _image_files(pair[0])}
    clean = {file.relative_to(pair[1]).with_suffix("").as_posix(): file for file in _image_files(pair[1])}
    single = sorted(degraded.keys() ^ clean.keys())
    if single:
        raise TaskError(
            f"{folder}: {len(single)} pictures are in only one of {pair[0].name}/ and {pair[1].name}/, first "
            f"{single[0]!r}; a pair needs the same file name in both"
        )
    prefix = folder.resolve().name
    names = sorted(clean)
    for name in tqdm(names, desc=f"loading {prefix}", unit="pair", disable=len(names) <= _PROGRESS_FROM):
        yield Sample(f"{prefix}/{name}", clean=_read_rgb(clean[name]), degraded=_read_rgb(degraded[name]))


def _image_files(folder: Path) -> list[Path]:
    """Pictures below a folder in a fixed order, hidden ones left out."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not files:
        raise TaskError(f"{folder} holds no pictures ({', '.join(sorted(_IMAGE_SUFFIXES))})")
    return files


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode a picture to uint8 (H, W, 3), turned upright; alpha is dropped, grey becomes RGB."""
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):  # Pillow would clip 16 bits to 8 without a word
                raise TaskError(f"{path} has more than 8 bits per channel; convert it to 8 bits first")
            return np.array(ImageOps.exif_transpose(opened).convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise TaskError(f"cannot read the picture {path}: {error}; remove or replace it") from error


def _with_unique_names(samples: Sequence[Sample]) -> list[Sample]:
    """Number names that occur twice: two folders may have the same name and files."""
    seen: dict[str, int] = {}
    result = []
    for sample in samples:
        seen[sample.name] = seen.get(sample.name, 0) + 1
        repeat = seen[sample.name]
        result.append(sample if repeat == 1 else Sample(f"{sample.name}#{repeat}", sample.clean, sample.degraded))
    return result
