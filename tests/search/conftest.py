"""Tables with planted milliseconds, so that search can be tested without a clock."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models import OpKey, Space, SpaceConfig, get_space
from runtime import Target, describe_host, device_name, engine_version
from search.latency.model import LatencyModel
from search.latency.table import PROTOCOL, Calibration, Check, LatencyTable, Measured, Row, Session, SizeTable

TARGET = "cpu-onnxruntime-fp32-1t"
TINY: dict[str, Any] = {"channels": (8, 16), "blocks": 1, "convolutions": ("conv3x3", "separable3x3")}

RowMs = Callable[[OpKey], float]
MakeTable = Callable[..., LatencyTable]
MakeModel = Callable[..., LatencyModel]


ENGINE = engine_version(Target.parse(TARGET))


def measured(name: str, ms: float) -> Measured:
    return Measured(id=name, graph="0" * 16, session=0, ms=ms, error=0.01, raw_ms=ms, spread=0.0, runs=8, stable=True)


def session(**fields: Any) -> Session:
    content: dict[str, Any] = {
        "date": "2026-01-01T00:00:00+00:00",
        "code_version": "0",
        "engine": ENGINE,
        "host": describe_host(),
        "device": device_name(Target.parse(TARGET)),
        "clock": "cpu",
        "anchor_ms": 1.0,
        "disturbance": 0.1,
    }
    return Session.model_validate(content | fields)


def _table(
    values: dict[str, Any] | None = None,
    row_ms: RowMs = lambda _: 1.0,
    sizes: tuple[tuple[int, int], ...] = ((16, 16), (32, 32)),
    intercept: float = 2.0,
    slope: float = 1.0,
    of: str = "unet",
    error: float = 0.05,
    **fields: Any,
) -> LatencyTable:
    """A table of the space `of`. `row_ms` holds at the last size; at the others it is in proportion to pixels.

    Its held-out networks are off by `error`.
    """
    space: Space[Any] = get_space(of)
    config: SpaceConfig = space.parse_config(TINY if values is None else values)
    keys = sorted({term.key for term in space.cost_terms(config)})
    pixels = sizes[-1][0] * sizes[-1][1]

    def size_table(height: int, width: int) -> SizeTable:
        share = height * width / pixels
        rows = tuple(Row.of(key, share * row_ms(key)) for key in keys)
        calibration = Calibration(
            intercept_ms=share * intercept, slope=slope, networks=(measured("reference", 1.0),), sums_ms=(1.0,)
        )
        return SizeTable(height=height, width=width, rows=rows, chains=(), calibration=calibration)

    content: dict[str, Any] = {
        "protocol": PROTOCOL,
        "target": TARGET,
        "sessions": (session(),),
        "space": space.name,
        "space_version": space.version,
        "space_config": config.model_dump(mode="json"),
        "anchor_ms": 1.0,
        "sizes": tuple(size_table(*size) for size in sizes),
        "checks": tuple(
            Check.of("held-out", size, (1.0 + error, 1.0 - error), (measured("a", 1.0), measured("b", 1.0)))
            for size in sizes
        ),
    }
    return LatencyTable.model_validate(content | fields)


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    return _table


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    def make(*arguments: Any, **fields: Any) -> LatencyModel:
        return LatencyModel(_table(*arguments, **fields))

    return make


@pytest.fixture(scope="session")
def random_rows() -> Callable[[int], RowMs]:
    """Seed -> positive milliseconds that depend on the row alone."""

    def rows(seed: int) -> RowMs:
        def ms(key: OpKey) -> float:
            mixed = [seed, key.in_channels, key.out_channels, key.divisor, *key.operation.encode()]
            return float(np.random.default_rng(mixed).uniform(0.1, 2.0))

        return ms

    return rows


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> LatencyModel:
    """The 3x3 convolution costs ten times the separable one."""

    def row(key: OpKey) -> float:
        return {"conv3x3": 10.0, "separable3x3": 1.0}.get(key.operation, 0.5) * key.out_channels / 16

    return make_model(row_ms=row)
