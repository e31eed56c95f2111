"""The latency table: measured milliseconds with where, how and when they were measured."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from models import Space, SpaceConfig, content_hash
from runtime import Target
from runtime.host import HostInfo
from search.errors import TableError
from search.files import write_json

SCHEMA_VERSION = 1
PROTOCOL = "carrier-chains-1"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Strict):
    """One operation at one shape."""

    operation: str
    in_channels: int
    out_channels: int
    divisor: int
    ms: float


class Measured(_Strict):
    """One timed graph: `ms` is drift-corrected by the anchor, `raw_ms` is what the clock said."""

    id: str
    ms: float
    raw_ms: float
    spread: float
    runs: int
    stable: bool


class Calibration(_Strict):
    """`whole network = intercept_ms + slope * sum(rows)`, fitted on whole networks.

    `mape` and `worst` are leave-one-out relative errors: each network predicted by a fit that has not seen it.
    """

    intercept_ms: float
    slope: float
    mape: float
    worst: float
    networks: tuple[Measured, ...]
    sums_ms: tuple[float, ...]


class SizeTable(_Strict):
    """All rows at one input size of the network."""

    height: int
    width: int
    rows: tuple[Row, ...]
    chains: tuple[Measured, ...]
    calibration: Calibration


class LatencyTable(_Strict):
    """Rows of one space config on one target. Never mixes targets, hosts or engine versions."""

    schema_version: int = SCHEMA_VERSION
    protocol: str = PROTOCOL
    target: str
    host: HostInfo
    clock: str
    date: str
    code_version: str
    space: str
    space_version: int
    space_config: dict[str, Any]
    anchor_ms: float
    sizes: tuple[SizeTable, ...]

    @property
    def id(self) -> str:
        """Content hash."""
        return content_hash(self.model_dump(mode="json"))

    def save(self, path: Path) -> None:
        """Write as JSON, replacing the file in one step."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        """Read a table.

        Raises:
            TableError: Missing, not a table, or of another schema version.
        """
        remedy = "`millisight latency measure` makes one"
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

    def require(self, target: Target, space: Space[Any], config: SpaceConfig, host: HostInfo) -> None:
        """Refuse to be used for anything but what was measured.

        Raises:
            TableError: Another target, space, device or engine version; says which.
        """
        wanted = {
            "target": target.slug,
            "device": host.device,
            "engine": f"{target.engine} {host.packages.get(target.engine, 'not installed')}",
            "space": f"{space.name} v{space.version}",
            "config": content_hash(config.model_dump(mode="json")),
            "protocol": PROTOCOL,
        }
        found = {
            "target": self.target,
            "device": self.host.device,
            "engine": f"{target.engine} {self.host.packages.get(target.engine, 'not installed')}",
            "space": f"{self.space} v{self.space_version}",
            "config": content_hash(self.space_config),
            "protocol": self.protocol,
        }
        different = [f"{key} {found[key]} (wanted {wanted[key]})" for key in wanted if wanted[key] != found[key]]
        if different:
            raise TableError(
                f"this latency table was measured for something else: {'; '.join(different)}; "
                f"measure again with `millisight latency measure --target {target.slug}`"
            )
