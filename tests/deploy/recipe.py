"""A Dockerfile, taken apart: enough of it to check ours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


@dataclass
class Stage:
    """One FROM and what follows it; `steps` are (word, rest) with continued lines joined."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for step, rest in self.steps if step == word]


def steps(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def stages(text: str = DOCKERFILE) -> dict[str, Stage]:
    """The stages by name, in their order."""
    found: dict[str, Stage] = {}
    for word, rest in steps(text):
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = Stage(name, base)
        elif found:
            found[list(found)[-1]].steps.append((word, rest))
    return found


def arguments(text: str = DOCKERFILE) -> dict[str, str]:
    """What ARG says before the first FROM."""
    before = [rest for word, rest in steps(text[: text.index("\nFROM ") + 1]) if word == "ARG"]
    return dict(entry.split("=", 1) for entry in before)


def lineage(name: str, text: str = DOCKERFILE) -> list[Stage]:
    """The stage and those it is made from, the first one last."""
    known = stages(text)
    line = [known[name]]
    while line[-1].base in known:
        line.append(known[line[-1].base])
    return line


def inherited(word: str, target: str = "cpu") -> str:
    """The last such step on the way to the target."""
    return next(found[-1] for stage in lineage(target) if (found := stage.all(word)))
