"""The service's configuration: environment variables that start with MILLISIGHT_, checked once at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.auto import AUTO
from runtime.host import usable_cores
from serving.errors import SettingsError

PREFIX = "MILLISIGHT_"
# Of `millisight restore --server` and `millisight search`, in a shell from which a server may be started too.
CLIENT_VARIABLES = frozenset({"MILLISIGHT_API_KEY", "MILLISIGHT_METRICS_DIR", "MILLISIGHT_PUSH_METRICS"})


def _split_roots(value: object) -> object:
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _default_state() -> Path:
    # Beside what BentoML keeps: two servers must not share that folder either.
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "millisight"


class Settings(BaseModel):
    """Limits and places of one server; every field is an environment variable `MILLISIGHT_<FIELD>`.

    | variable | meaning |
    | --- | --- |
    | MILLISIGHT_BUNDLES | folders searched for bundles, separated like PATH; earlier folders win |
    | MILLISIGHT_TARGET | where networks run: auto, or a target such as cpu-onnxruntime-fp32-1t for all of them |
    | MILLISIGHT_MAX_BODY_BYTES | largest request body |
    | MILLISIGHT_MAX_PIXELS | largest picture accepted, in pixels |
    | MILLISIGHT_MAX_OUTPUT_PIXELS | largest picture returned, in pixels |
    | MILLISIGHT_WORKERS | worker processes |
    | MILLISIGHT_SLOTS | batches of tiles inferred at the same time in one worker |
    | MILLISIGHT_THREADS | threads of one slot on a processor; 0: the cores divided by workers and slots |
    | MILLISIGHT_QUEUE | requests in one worker, admitted and not answered |
    | MILLISIGHT_PICTURE_BYTES | decoded and restored pixels held by one worker at a time |
    | MILLISIGHT_BODY_BYTES_TOTAL | request bodies held by one worker at a time |
    | MILLISIGHT_REQUEST_TIMEOUT | seconds from a request's header to its answer, where it names no deadline |
    | MILLISIGHT_READ_TIMEOUT | seconds the client has to send its body |
    | MILLISIGHT_WRITE_TIMEOUT | seconds the client has to take a piece of the answer |
    | MILLISIGHT_API_KEYS | file of hashed API keys; without it no key is asked for |
    | MILLISIGHT_CORS_ORIGINS | origins that browsers may call from, separated by commas |
    | MILLISIGHT_STATE | folder that the workers share: jobs, which models are unloaded |
    | MILLISIGHT_WATCH_S | seconds between looks for changed bundles; 0: only when asked to |
    | MILLISIGHT_JOBS | off, sqlite, or redis://host:port/db |
    | MILLISIGHT_JOB_TTL_S | seconds a job is kept after its submission |
    | MILLISIGHT_JOB_MAX_FILES | files in one job |
    | MILLISIGHT_JOB_MAX_BYTES | bytes in one submission |
    | MILLISIGHT_JOB_DISK_BYTES | bytes that all jobs may hold |
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
    workers: int = Field(default=1, ge=1, le=64)
    slots: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=0, ge=0, le=1024)
    queue: int = Field(default=64, ge=1, le=100_000)
    picture_bytes: int = Field(default=2**30, ge=2**20)
    body_bytes_total: int = Field(default=256 * 2**20, ge=1024)
    request_timeout: float = Field(default=60.0, gt=0, le=3600)
    read_timeout: float = Field(default=30.0, gt=0, le=3600)
    write_timeout: float = Field(default=30.0, gt=0, le=3600)
    api_keys: Path | None = None
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_split_commas)] = ()
    state: Path = Field(default_factory=_default_state)
    watch_s: float = Field(default=0.0, ge=0)
    jobs: Annotated[str, Field(pattern=r"^(off|sqlite|rediss?://.+)$")] = "sqlite"
    job_ttl_s: float = Field(default=86_400.0, gt=0)
    job_max_files: int = Field(default=256, ge=1)
    job_max_bytes: int = Field(default=512 * 2**20, ge=1024)
    job_disk_bytes: int = Field(default=4 * 2**30, ge=1024)

    @property
    def slot_threads(self) -> int:
        """Threads of one slot on a processor."""
        return self.threads or max(1, usable_cores() // (self.workers * self.slots))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Reads the settings.

        Args:
            environment: Variables to read; the process's own by default.

        Raises:
            SettingsError: A MILLISIGHT_ variable is unknown or its value is not allowed.
        """
        environment = os.environ if environment is None else environment
        given = {
            name: value
            for name, value in environment.items()
            if name.startswith(PREFIX) and name not in CLIENT_VARIABLES
        }
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
