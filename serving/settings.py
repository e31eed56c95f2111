"""The service's configuration: environment variables that start with MILLISIGHT_, checked once at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.auto import AUTO
from serving.errors import SettingsError

PREFIX = "MILLISIGHT_"


def _split_roots(value: object) -> object:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


class Settings(BaseModel):
    """Limits and places of one server; every field is an environment variable `MILLISIGHT_<FIELD>`.

    | variable | meaning |
    | --- | --- |
    | MILLISIGHT_BUNDLES | folders searched for bundles, separated like PATH; earlier folders win |
    | MILLISIGHT_TARGET | where networks run: auto, or a target such as cpu-onnxruntime-fp32-1t for all of them |
    | MILLISIGHT_MAX_BODY_BYTES | largest request body |
    | MILLISIGHT_MAX_PIXELS | largest picture accepted, in pixels |
    | MILLISIGHT_MAX_OUTPUT_PIXELS | largest picture returned, in pixels |
    | MILLISIGHT_SLOTS | pictures inferred at the same time in one worker |
    | MILLISIGHT_REQUEST_TIMEOUT | seconds from the last byte of the body to the answer |
    | MILLISIGHT_READ_TIMEOUT | seconds the client has to send its body |
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A user's own runs come before what ships with the project.
    bundles: Annotated[tuple[Path, ...], BeforeValidator(_split_roots), Field(min_length=1)] = (
        Path("runs"),
        Path("zoo"),
    )
    target: str = AUTO
    max_body_bytes: int = Field(default=20 * 2**20, ge=1024)
    max_pixels: int = Field(default=24_000_000, ge=1)
    max_output_pixels: int = Field(default=64_000_000, ge=1)
    slots: int = Field(default=1, ge=1, le=64)
    # Together below the time BentoML itself allows (service.BACKSTOP_S), so that our own answer always comes first.
    request_timeout: float = Field(default=60.0, gt=0, le=280)
    read_timeout: float = Field(default=30.0, gt=0, le=280)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Reads the settings.

        Args:
            environment: Variables to read; the process's own by default.

        Raises:
            SettingsError: A MILLISIGHT_ variable is unknown or its value is not allowed.
        """
        environment = os.environ if environment is None else environment
        given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        known = {PREFIX + field.upper(): field for field in cls.model_fields}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise SettingsError(f"Unknown setting {', '.join(unknown)}. Known: {', '.join(known)}.")
        try:
            return cls.model_validate({known[name]: value for name, value in given.items()})
        except ValidationError as error:
            lines = []
            for problem in error.errors(include_url=False):
                name = PREFIX + str(problem["loc"][0]).upper()
                lines.append(f"{name}={given.get(name, '')!r}: {problem['msg']}")
            raise SettingsError("; ".join(lines) + ".") from error
