"""The latency table: measured milliseconds with where, how and when they were measured."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models import OpKey, Space, SpaceConfig, content_hash
from runtime import ClockName, Target
from runtime.host import HostInfo
from search.errors import TableError
from search.files import write_json
from search.latency.accuracy import Accuracy, accuracy

SCHEMA_VERSION = 2
PROTOCOL = "carrier-chains-2"
REMEDY = "millisight latency measure"
ELSEWHERE = "search for that device without timing anything, with `millisight search --elsewhere`"

CheckKind = Literal["held-out", "unseen-size", "optimum"]
"""Networks left out of the calibration; networks at a size between the measured ones; networks derived under budgets.
"""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Session(_Strict):
    """One sitting at the machine: what everything that was measured in it has in common.

    Attributes:
        date: ISO 8601, UTC.
        code_version: Of this project.
        engine: With its version.
        host: System and packages.
        device: Processor or GPU.
        conditions: What the system lets be read: governor, clock frequency, driver.
        clock: What times were read from.
        anchor_ms: The anchor in the quieter moments of this sitting.
        disturbance: How much slower the machine typically was, 0 for not at all.
    """

    date: str
    code_version: str
    engine: str
    host: HostInfo
    device: str
    conditions: dict[str, str] = Field(default_factory=dict)
    clock: ClockName
    anchor_ms: float
    disturbance: float


class Measured(_Strict):
    """One timed graph.

    Attributes:
        id: Of the chain or the network.
        graph: Hash of the ONNX file that was timed.
        session: Index of the sitting.
        ms: Milliseconds in the machine's quieter moments: a multiple of the anchor, times the table's `anchor_ms`.
        error: Standard error of `ms`, relative.
        raw_ms: Median of what the clock said.
        spread: Interquartile range over median of the runs, drift taken out.
        runs: Number of runs.
        stable: Whether the timing settled within the rule.
    """

    id: str
    graph: str
    session: int = Field(ge=0)
    ms: float = Field(gt=0)
    error: float = Field(ge=0)
    raw_ms: float = Field(gt=0)
    spread: float = Field(ge=0)
    runs: int = Field(ge=1)
    stable: bool


class Row(_Strict):
    """One operation at one shape, solved from the chains."""

    operation: str
    in_channels: int
    out_channels: int
    divisor: int
    ms: float = Field(ge=0)

    @property
    def key(self) -> OpKey:
        """The operation and its shape."""
        return OpKey(self.operation, self.in_channels, self.out_channels, self.divisor)

    @classmethod
    def of(cls, key: OpKey, ms: float) -> "Row":
        """The row of a key."""
        return cls(**asdict(key), ms=ms)


class Calibration(_Strict):
    """`whole network = intercept_ms + slope * sum(rows)`, fitted on whole networks; both are at least zero."""

    intercept_ms: float = Field(ge=0)
    slope: float = Field(gt=0)
    sums_ms: tuple[float, ...]
    networks: tuple[Measured, ...]


class Check(_Strict):
    """Predictions beside measurements of networks that the prediction had not seen, at one size.

    `accuracy` is computed from the two and stored with them, for readers of the file; one that does not follow from
    them is refused.
    """

    kind: CheckKind
    height: int
    width: int
    predicted_ms: tuple[float, ...]
    networks: tuple[Measured, ...]
    accuracy: Accuracy

    @classmethod
    def of(
        cls, kind: CheckKind, size: tuple[int, int], predicted_ms: tuple[float, ...], networks: tuple[Measured, ...]
    ) -> "Check":
        """The check with its accuracy."""
        found = accuracy(predicted_ms, [entry.ms for entry in networks])
        return cls(
            kind=kind, height=size[0], width=size[1], predicted_ms=predicted_ms, networks=networks, accuracy=found
        )

    @model_validator(mode="after")
    def _follows(self) -> "Check":
        found = accuracy(self.predicted_ms, [entry.ms for entry in self.networks])
        if not found.agrees(self.accuracy):
            raise ValueError(f"the stated accuracy of the {self.kind} check does not follow from its timings")
        return self


class SizeTable(_Strict):
    """All rows at one (height, width) of the network's input, with the timings that they come from."""

    height: int
    width: int
    rows: tuple[Row, ...]
    chains: tuple[Measured, ...]
    calibration: Calibration

    @property
    def row_ms(self) -> dict[OpKey, float]:
        """Key -> milliseconds, not calibrated."""
        return {row.key: row.ms for row in self.rows}


class LatencyTable(_Strict):
    """Rows of one space config on one target.

    May be put together from several sittings, but never from several targets, devices or engine versions.

    Attributes:
        networks: Id -> picks of every whole network that was timed.
        anchor_ms: What the anchor takes in quieter moments; all milliseconds refer to it.
    """

    schema_version: int = SCHEMA_VERSION
    protocol: str = PROTOCOL
    target: str
    space: str
    space_version: int
    space_config: dict[str, Any]
    anchor_ms: float = Field(gt=0)
    sessions: tuple[Session, ...] = Field(min_length=1)
    sizes: tuple[SizeTable, ...] = Field(min_length=1)
    checks: tuple[Check, ...] = ()
    networks: dict[str, dict[str, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> "LatencyTable":
        sources = {(session.engine, session.device, session.clock) for session in self.sessions}
        if len(sources) > 1:
            mixed = "; ".join(", ".join(source) for source in sorted(sources))
            raise ValueError(f"it mixes timings of different engines, devices or clocks: {mixed}")
        lost = sorted({entry.id for entry in self.timings() if entry.session >= len(self.sessions)})
        if lost:
            raise ValueError(f"timings without a session: {', '.join(lost)}")
        return self

    @property
    def id(self) -> str:
        """Content hash."""
        return content_hash(self.model_dump(mode="json"))

    @property
    def session(self) -> Session:
        """The latest sitting."""
        return self.sessions[-1]

    def timings(self) -> Iterator[Measured]:
        """Everything that was timed."""
        for size in self.sizes:
            yield from size.chains
            yield from size.calibration.networks
        for check in self.checks:
            yield from check.networks

    def save(self, path: Path) -> None:
        """Write as JSON, replacing the file in one step."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        """Read a table.

        Raises:
            TableError: Missing, not a table, of another schema version, or put together from what does not belong
                together.
        """
        remedy = f"`{REMEDY} --out {path}` makes one"
        if not path.is_file():
            raise TableError(f"no latency table at {path}; {remedy}")
        try:
            content = json.loads(path.read_text())
            version = content.get("schema_version") if isinstance(content, dict) else None
            if version != SCHEMA_VERSION:
                raise TableError(f"{path}: schema version {version}, this code reads {SCHEMA_VERSION}; {remedy}")
            return cls.model_validate(content)
        except ValueError as error:  # of the encoding, of json or of pydantic
            raise TableError(f"{path} is not a latency table: {error}; {remedy}") from error

    def require(
        self,
        target: Target,
        space: Space[Any],
        config: SpaceConfig,
        device: str | None,
        engine: str | None,
        remedy: str | None = None,
    ) -> None:
        """Refuse to be used for anything but what was measured.

        Args:
            target: Where it shall be used.
            space: For which space.
            config: And which config of it.
            device: The processor or GPU, as `runtime.device_name` says it; None for whichever it was measured on.
            engine: The target's engine with its version, as `runtime.engine_version` says it; None likewise.
            remedy: The command that makes the right table.

        Raises:
            TableError: Another target, space, device, engine or engine version, or protocol; says which.
        """
        wanted = {
            "target": target.slug,
            "device": self.session.device if device is None else device,
            "engine": self.session.engine if engine is None else engine,
            "space": f"{space.name} v{space.version}",
            "config": content_hash(config.model_dump(mode="json")),
            "protocol": PROTOCOL,
        }
        found = {
            "target": self.target,
            "device": self.session.device,
            "engine": self.session.engine,
            "space": f"{self.space} v{self.space_version}",
            "config": content_hash(self.space_config),
            "protocol": self.protocol,
        }
        different = [key for key in wanted if wanted[key] != found[key]]
        if different:
            named = "; ".join(f"{key} {found[key]} (wanted {wanted[key]})" for key in different)
            here = {"device", "engine"} >= set(different)
            raise TableError(
                f"this latency table was measured for something else: {named}; "
                f"measure again with `{remedy or f'{REMEDY} --target {target.slug}'}`"
                + (f", or {ELSEWHERE}" if here else "")
            )
