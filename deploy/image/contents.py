"""Lists what an image holds, with sizes, and complains of what must not be in it. Standard library only.

Runs in the image itself, as root so that no folder is closed to it, or over the unpacked root of an image:

    docker run --rm --interactive --user 0 millisight python - < deploy/image/contents.py
    python deploy/image/contents.py ROOT

Exit code 1 if anything is there that must not be: a compiler, torch, pip in the service's environment, caches of
packages, passwords and keys, files that the service's user may change.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

USER = 10001
ENVIRONMENT = Path("opt/venv")
PROGRAMS = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/venv/bin")
COMPILERS = ("gcc", "gcc-*", "*-linux-gnu-gcc*", "g++", "cc", "c++", "cpp", "clang*", "ld", "as", "make", "nvcc")
PACKAGES = ("torch", "torchvision", "triton", "pip", "setuptools")
CACHES = ("root/.cache/*", "home/*/.cache/*", "tmp/*", "var/tmp/*", "var/lib/apt/lists/*_Packages*")
SECRETS = ("pip.conf", ".netrc", ".pypirc", ".env", ".git-credentials", "id_rsa", "id_ed25519", "config.json@.docker")
# Kernel's own, what a runtime mounts, and what the service's user is meant to change.
SKIPPED = ("proc", "sys", "dev", "run/secrets")
WRITABLE = ("tmp", "var/tmp", "run/lock", "var/lib/millisight")


@dataclass(frozen=True)
class Part:
    """Something in the image.

    Attributes:
        name: A folder, or a package and its version.
        size: In bytes on disk, hard links counted once for each name.
    """

    name: str
    size: int


def packages(root: Path) -> list[Part]:
    """The Python packages of the service's environment, largest first."""
    places = [str(path) for path in sorted((root / ENVIRONMENT).glob("lib/python3*/site-packages"))]
    found = []
    for distribution in importlib.metadata.distributions(path=places):
        files = [Path(str(distribution.locate_file(file))) for file in distribution.files or ()]
        size = sum(file.lstat().st_size for file in files if file.exists())
        found.append(Part(f"{distribution.metadata['Name']} {distribution.version}", size))
    return sorted(found, key=lambda part: -part.size)


def folders(root: Path) -> list[Part]:
    """Folders of the root, and what the Dockerfile adds to them, by name."""
    names = ["app/zoo", "app/runs", str(ENVIRONMENT), "usr", "var", "etc", "root", "home", "tmp", "opt", "app"]
    sizes = dict.fromkeys(names, 0)
    for path, facts in _files(root):
        inside = path.relative_to(root).as_posix() + "/"
        # The longest name first, so that nothing is counted twice.
        for name in sorted(names, key=len, reverse=True):
            if inside.startswith(name + "/"):
                sizes[name] += facts.st_size
                break
    return [Part("/" + name, size) for name, size in sorted(sizes.items()) if size]


def faults(root: Path) -> list[str]:
    """What must not be in the image, one sentence for each."""
    programs = [path for folder in PROGRAMS if not (root / folder).is_symlink() for path in (root / folder).glob("*")]
    said = [f"a compiler or its tools: {_shown(path, root)}" for path in programs if _is_any(path.name, COMPILERS)]
    said += [f"a package that serving does not need: {part.name}" for part in packages(root) if _unwanted(part)]
    for path, facts in _files(root):
        inside = path.relative_to(root).as_posix()
        if _is_any(inside, CACHES):
            said.append(f"left over from the build: {_shown(path, root)}")
        if _is_secret(path) and facts.st_size:
            said.append(f"perhaps a secret: {_shown(path, root)}")
        if _is_changeable(facts) and not any(f"{inside}/".startswith(f"{name}/") for name in WRITABLE):
            said.append(f"the user {USER} may change {_shown(path, root)}")
    return said


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, inner, names in os.walk(root, onerror=_closed):
        here = Path(folder)
        inner[:] = [name for name in inner if (here / name).relative_to(root).as_posix() not in SKIPPED]
        for name in names:
            path = here / name
            yield path, path.lstat()


def _closed(error: OSError) -> None:
    # A list with holes in it would say that there is nothing.
    sys.exit(f"{error.filename} cannot be looked into ({error.strerror}). Run this as root: docker run --user 0 ...")


def _is_any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _unwanted(package: Part) -> bool:
    return package.name.split()[0].lower() in PACKAGES


def _is_secret(path: Path) -> bool:
    # A name, or a name in a folder of a certain name.
    return path.name in SECRETS or f"{path.name}@{path.parent.name}" in SECRETS


def _is_changeable(facts: os.stat_result) -> bool:
    if not stat.S_ISREG(facts.st_mode):
        return False
    return facts.st_uid == USER or facts.st_gid == USER or bool(facts.st_mode & stat.S_IWOTH)


def _shown(path: Path, root: Path) -> str:
    return "/" + path.relative_to(root).as_posix()


def _mb(size: int) -> str:
    return f"{size / 1e6:9.1f} MB"


def main(arguments: Sequence[str]) -> int:
    """Prints the lists; 1 if something must not be there, 2 for wrong use."""
    if len(arguments) > 1 or (arguments and not Path(arguments[0]).is_dir()):
        sys.stderr.write("usage: contents.py [ROOT], the root folder of an unpacked image; default: /\n")
        return 2
    root = Path(arguments[0] if arguments else "/")
    lines = ["folders"]
    there = folders(root)
    lines += [f"{_mb(part.size)}  {part.name}" for part in there]
    lines += [f"{_mb(sum(part.size for part in there))}  together", "", "packages of Python"]
    lines += [f"{_mb(part.size)}  {part.name}" for part in packages(root)]
    wrong = faults(root)
    lines += ["", "must not be there", *(f"  {line}" for line in wrong or ["nothing found"])]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
