"""What the Dockerfile promises of the images that the pods run."""

from __future__ import annotations

import re

from tests.deploy.recipe import inherited, lineage, stages


def user(name: str) -> int:
    """Who runs in the image of a stage."""
    return int(inherited("USER", name))


def port(name: str) -> int:
    """The port that the image of a stage exposes and its command listens on."""
    exposed = inherited("EXPOSE", name)
    assert f'"--port", "{exposed}"' in inherited("CMD", name)
    return int(exposed)


def variables(name: str) -> dict[str, str]:
    """The environment of the image of a stage, its PATH left out."""
    found: dict[str, str] = {}
    for stage in reversed(lineage(name)):
        for entry in stage.all("ENV"):
            found |= dict(re.findall(r"(\w+)=(\S+)", entry))
    found.pop("PATH")
    return found


def extras(name: str) -> set[str]:
    """The extras that the image of a stage is installed with, in it or in a stage that it copies from."""
    known = stages()
    steps = [step for stage in lineage(name) for step in stage.steps]
    for source in re.findall(r"--from=([\w-]+)", " ".join(rest for _, rest in steps)):
        steps += known[source].steps if source in known else []
    arguments = dict(rest.split("=", 1) for word, rest in steps if word == "ARG" and "=" in rest)
    (installed,) = {found for _, rest in steps for found in re.findall(r"\[([^\[\]\s\"]+)\]\"", rest)}
    return set(re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], installed).split(","))
