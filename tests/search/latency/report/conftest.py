"""Whole tables with planted noise: chains, calibration, checks and networks of any space, without a clock."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from models import OpKey, get_space, operation_cost
from search.latency.calibration import (
    calibration_picks,
    finalist_picks,
    fit_calibration,
    held_out,
    sum_of_rows,
    unseen_picks,
)
from search.latency.chains import plan_chains
from search.latency.model import LatencyModel
from search.latency.table import Check, LatencyTable, Measured, Row, SizeTable

Size = tuple[int, int]
Plant = Callable[..., LatencyTable]


@functools.cache
def macs_of(key: OpKey) -> int:
    return operation_cost(key, 64, 64).macs


def row_ms(key: OpKey, size: Size) -> float:
    """A fixed part, work, and a cache that large sizes no longer fit."""
    height, width = size
    macs = macs_of(key) * height * width / 64**2
    return 0.003 + macs / 4e7 * (1.0 + 0.1 * np.log2(height * width / 128**2))


@pytest.fixture(scope="session")
def plant(make_table: Callable[..., LatencyTable]) -> Plant:
    def planted(
        space_name: str = "unet",
        values: Mapping[str, Any] | None = None,
        sizes: Sequence[Size] = ((128, 128), (256, 256), (512, 512)),
        noise: float = 0.02,
        seed: int = 0,
    ) -> LatencyTable:
        """A table as `measure_table` would put it together, in the time of a few sums."""
        rng = np.random.default_rng(seed)
        space = get_space(space_name)
        config = space.parse_config(space.examples[0] if values is None else values)
        base = make_table(values=config.model_dump(), of=space_name, sizes=tuple(sizes))

        def timed(name: str, ms: float) -> Measured:
            error = float(noise / 2 * rng.lognormal(0, 0.5))
            found = ms * float(np.exp(rng.normal(0, noise)))
            fields = {"graph": "0" * 16, "session": 0, "spread": 2 * error, "runs": 9, "stable": error < 2 * noise}
            return Measured.model_validate({"id": name, "ms": found, "error": error, "raw_ms": 1.1 * found, **fields})

        networks = calibration_picks(space, config, seed)
        chains = [chain for group in plan_chains(space.carriers(config)) for chain in group]

        def rows_at(size: Size) -> dict[OpKey, float]:
            return {key: row_ms(key, size) for key in sorted({t.key for t in space.cost_terms(config)})}

        def whole(picks: Mapping[str, str], size: Size) -> float:
            return 1e-5 * size[0] * size[1] + 1.03 * sum_of_rows(space, config, rows_at(size), picks)

        def part(size: Size) -> SizeTable:
            rows = {key: ms * float(np.exp(rng.normal(0, noise))) for key, ms in rows_at(size).items()}
            sums = [sum_of_rows(space, config, rows, picks) for picks in networks.values()]
            return SizeTable(
                height=size[0],
                width=size[1],
                rows=tuple(Row.of(key, ms) for key, ms in rows.items()),
                chains=tuple(
                    timed(chain.id, 0.1 + chain.length * sum(rows.get(key, 0.1) for key in chain.carrier.keys))
                    for chain in chains
                ),
                calibration=fit_calibration(sums, [timed(name, whole(p, size)) for name, p in networks.items()]),
            )

        parts = tuple(part(size) for size in sizes)
        checks = [held_out((one.height, one.width), one.calibration) for one in parts]
        table = base.model_copy(update={"sizes": parts, "checks": tuple(checks), "networks": networks})
        model = LatencyModel(table)

        def check(kind: Any, picks: Mapping[str, Mapping[str, str]], size: Size) -> Check:
            predicted = tuple(model.predict(entry, *size).ms for entry in picks.values())
            return Check.of(kind, size, predicted, tuple(timed(n, whole(p, size)) for n, p in picks.items()))

        finalists = finalist_picks(model, sizes[-1], seed)
        checks.append(check("optimum", finalists, sizes[-1]))
        timed_networks = {**networks, **finalists}
        if len(sizes) > 1:
            others = unseen_picks(space, config, seed)
            checks.append(check("unseen-size", others, (3 * sizes[-1][0] // 4, 3 * sizes[-1][1] // 4)))
            timed_networks |= others
        content = table.model_copy(update={"checks": tuple(checks), "networks": timed_networks})
        return LatencyTable.model_validate(content.model_dump(mode="json"))

    return planted
