"""The compose files as data: variables put in, merge keys followed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
COMPOSE, GPU = DEPLOY / "compose.yaml", DEPLOY / "compose.gpu.yaml"
PASSWORD = {"GRAFANA_ADMIN_PASSWORD": "of the test"}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?(?P<message>[^}]*))\}")


def filled(text: str, environment: Mapping[str, str] = PASSWORD) -> str:
    """The text with `${NAME:-default}` and `${NAME:?message}` replaced.

    Raises:
        KeyError: A variable that must be set is not.
    """

    def value(found: re.Match[str]) -> str:
        if given := environment.get(found["name"]):
            return given
        if found["default"] is None:
            raise KeyError(found["message"])
        return found["default"]

    return VARIABLE.sub(value, text)


def read(text: str, environment: Mapping[str, str] = PASSWORD) -> dict[str, Any]:
    """A compose file as its reader sees it."""
    content = yaml.safe_load(filled(text, environment))
    assert isinstance(content, dict)
    return content


def seconds(text: str) -> float:
    """`100s` and `1m` as seconds."""
    return float(text[:-1]) * {"s": 1, "m": 60}[text[-1]]


def size(text: str) -> int:
    """`256m` and `4g` as bytes."""
    return int(text[:-1]) * {"m": 2**20, "g": 2**30}[text[-1]]


@dataclass(frozen=True)
class Mount:
    """A folder of this repository, or a named volume, in a container; `made`: by the engine, if it is not there."""

    kind: str
    source: str
    target: str
    read_only: bool
    made: bool = False

    def inside(self, path: str) -> Path | None:
        """Which file of the repository a path in the container is."""
        if self.kind != "bind" or not f"{path}/".startswith(f"{self.target}/"):
            return None
        return (DEPLOY / self.source / path[len(self.target) + 1 :]).resolve()


def mounts(service: Mapping[str, Any]) -> list[Mount]:
    """Of both forms: a mapping, and SOURCE:TARGET or SOURCE:TARGET:ro for a folder."""
    found = []
    for entry in service.get("volumes", []):
        if isinstance(entry, str):
            source, target, *mode = entry.split(":")
            found.append(Mount("bind", source, target, mode == ["ro"], made=True))
        else:
            found.append(Mount(entry["type"], entry["source"], entry["target"], entry.get("read_only", False)))
    return found


def on_disk(service: Mapping[str, Any], path: str) -> Path | None:
    """The file of the repository behind a path in a container; the innermost mount has it."""
    around = [mount for mount in mounts(service) if f"{path}/".startswith(f"{mount.target}/")]
    return max(around, key=lambda mount: len(mount.target)).inside(path) if around else None


def published(service: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """(address, port of the host, port of the container) of each port."""
    found = []
    for entry in service.get("ports", []):
        address, host, container = entry.rsplit(":", 2)
        found.append((address, int(host), int(container)))
    return found
