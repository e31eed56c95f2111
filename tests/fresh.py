"""A virtual environment in which nothing but the base dependencies is installed, to plant packages in."""

import importlib.metadata
import os
import re
import subprocess
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent


class Fresh:
    """An environment in a folder. What `plant` puts into it is there for the processes that `run` starts.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(folder / "venv")
        self.python = folder / "venv" / "bin" / "python"
        self.packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
        self.folder = folder
        for entry in _base_entries():
            (self.packages / entry.name).symlink_to(entry)

    def plant(self, module: str | None = None, source: str = "", **distributions: str) -> None:
        """Put a module and the metadata of distributions (`onnxruntime_gpu="1.2"`) into the environment."""
        if module is not None:
            (self.packages / f"{module}.py").write_text(source)
        for name, version in distributions.items():
            info = self.packages / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
            )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run its Python with this project on the path."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=own | {"PYTHONPATH": str(ROOT)} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def _base_entries() -> set[Path]:
    """What the base dependencies of this project and theirs have written into the environment of the tests."""
    names, entries = ["millisight"], set[Path]()
    for name in names:  # grows on the way
        for text in importlib.metadata.requires(name) or ():
            needed = re.split(r"[^A-Za-z0-9._-]", text)[0]
            if "extra ==" not in text and needed not in names and _installed(needed):
                names.append(needed)
                entries |= {_top(file) for file in importlib.metadata.files(needed) or () if file.parts[0] != ".."}
    return entries


def _top(file: importlib.metadata.PackagePath) -> Path:
    """The entry of the packages' folder that a file is in or is."""
    return Path(str(file.locate()).removesuffix(str(file))) / file.parts[0]


def _installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False
