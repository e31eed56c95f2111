"""A picked network as plain JSON: the same content always has the same id."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.errors import GenotypeError


def content_hash(content: object) -> str:
    """First 16 hex digits of the SHA-256 of `content` as canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


class Pick(BaseModel):
    """One decided choice; `prob` is the relaxed probability of the candidate when it was picked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    kind: str
    picked: str
    index: int
    prob: float = Field(ge=0.0, le=1.0)


class Genotype(BaseModel):
    """Space, config and one pick per choice.

    `expected_ms` and `table` say what the picks were expected to cost and by which latency table, `seed` which search
    made them. They are evidence, not identity: `id` covers space, version, config and picks alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: str
    version: int
    config: dict[str, Any]
    choices: tuple[Pick, ...]
    expected_ms: float | None = None
    table: str | None = None
    seed: int | None = None

    @field_validator("choices")
    @classmethod
    def _picked_once(cls, choices: tuple[Pick, ...]) -> tuple[Pick, ...]:
        repeated = sorted({pick.id for pick in choices if sum(other.id == pick.id for other in choices) > 1})
        if repeated:
            raise ValueError(f"more than one pick for {', '.join(repeated)}")
        return choices

    @property
    def picks(self) -> dict[str, str]:
        """Choice id -> picked candidate."""
        return {pick.id: pick.picked for pick in self.choices}

    @property
    def id(self) -> str:
        """Content hash of what is built."""
        return content_hash({"space": self.space, "version": self.version, "config": self.config, "picks": self.picks})

    def to_json(self) -> str:
        """Human-readable JSON; `from_json` gives an equal genotype back."""
        return json.dumps({"id": self.id, **self.model_dump(mode="json")}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Genotype":
        """Read what `to_json` wrote.

        Raises:
            GenotypeError: Not valid JSON, unknown or missing keys, or an id that does not match the content.
        """
        try:
            content = json.loads(text)
            claimed = content.pop("id", None) if isinstance(content, dict) else None
            genotype = cls.model_validate(content)
            actual = genotype.id
        except ValueError as error:  # json's, pydantic's, and a config that holds NaN
            raise GenotypeError(f"not a genotype: {error}") from error
        if claimed is not None and claimed != actual:
            raise GenotypeError(f"the genotype says id {claimed}, its content has id {actual}: it was edited")
        return genotype

    @classmethod
    def load(cls, path: Path) -> "Genotype":
        """Read a genotype file.

        Raises:
            GenotypeError: The file is missing or is not a genotype.
        """
        if not path.is_file():
            raise GenotypeError(f"no genotype at {path}; a search writes one to runs/<id>/genotype.json")
        try:
            text = path.read_text()
        except UnicodeDecodeError as error:
            raise GenotypeError(f"{path} is not a genotype: {error}") from error
        return cls.from_json(text)
