"""Measuring a latency table: chains of carriers, then whole networks to calibrate against."""

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from export.onnx_graph import export_onnx
from models import OpKey, Space, SpaceConfig, content_hash
from runtime import Target
from runtime.host import describe_host
from runtime.timing import StabilityRule
from search.files import write_json
from search.latency.chains import plan_chains, solve_rows
from search.latency.clock import clock_for, time_graphs
from search.latency.table import PROTOCOL, Calibration, LatencyTable, Measured, Row, SizeTable

ANCHOR = "anchor"
RULE = StabilityRule(warmup=2, min_runs=8, max_runs=40, tolerance=0.02, max_seconds=4.0)
CALIBRATION_NETWORKS = 8


def measure_table(
    space: Space[Any],
    config: SpaceConfig,
    target: Target,
    sizes: Sequence[tuple[int, int]],
    out: Path,
    *,
    seed: int = 0,
    rule: StabilityRule = RULE,
    code_version: str = "",
) -> LatencyTable:
    """Measure every row that the space can ask for, calibrate on whole networks, and write the table.

    Work is done in groups; each finished group is kept beside `out` and skipped when measuring is taken up again.
    In every group the same anchor graph is timed too, and the group's times are scaled by how much the anchor has
    drifted since the first group.

    Args:
        space: What to price.
        config: Its config.
        target: Where.
        sizes: (height, width) inputs; each is rounded up to what the space's networks accept.
        out: The table's JSON file.
        seed: Random networks and order of turns.
        rule: When a timing counts as settled.
        code_version: Recorded as provenance.
    """
    journal = _Journal(out.with_suffix(".partial.json"), _journal_key(space, config, target, sizes, seed))
    groups = plan_chains(space.carriers(config))
    networks = calibration_picks(space, config, seed)
    multiple = space.build(space.genotype(config, space.reference_picks(config))).multiple
    padded = [(_round_up(height, multiple), _round_up(width, multiple)) for height, width in sizes]
    anchor, anchor_size = anchor_graph(space, config, padded[0])
    tables = []
    jobs = len(padded) * (len(groups) + 1)
    with tqdm(total=jobs, desc="measuring", unit="group") as bar:
        for size in padded:
            chains: list[Measured] = []
            for number, group in enumerate(groups):
                part = _scaled(size, group[0].carrier.divisor)
                name = f"{size[1]}x{size[0]}/{number}"
                chains += journal.once(
                    name,
                    lambda group=group, part=part: _time_group(  # type: ignore[misc]
                        {c.id: export_onnx(c.module()) for c in group}, target, part, rule, seed, (anchor, anchor_size)
                    ),
                )
                bar.update()
            whole = journal.once(
                f"{size[1]}x{size[0]}/networks",
                lambda size=size: _time_group(  # type: ignore[misc]
                    {name: _export_picks(space, config, picks) for name, picks in networks.items()},
                    target, size, rule, seed, (anchor, anchor_size),
                ),
            )  # fmt: skip
            bar.update()
            rows = solve_rows(groups, {entry.id: entry.ms for entry in chains})
            tables.append(_size_table(space, config, size, rows, chains, whole, networks))
    table = LatencyTable(
        protocol=PROTOCOL,
        target=target.slug,
        host=describe_host(),
        clock=clock_for(target).name,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        code_version=code_version,
        space=space.name,
        space_version=space.version,
        space_config=config.model_dump(mode="json"),
        anchor_ms=journal.anchor_ms,
        sizes=tuple(tables),
    )
    table.save(out)
    journal.close()
    return table


def anchor_graph(space: Space[Any], config: SpaceConfig, size: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
    """The graph whose time tells how fast the machine is just now, and the (height, width) it runs at."""
    chain = plan_chains(space.carriers(config))[0][0]
    return export_onnx(chain.module()), _scaled(size, chain.carrier.divisor)


def calibration_picks(space: Space[Any], config: SpaceConfig, seed: int) -> dict[str, dict[str, str]]:
    """Networks to calibrate on: the reference, all first and all last candidates (where allowed), random ones."""
    rng = np.random.default_rng(seed)
    found = {"reference": space.reference_picks(config)}
    candidates = space.candidates(config)
    for name, place in (("all-first", 0), ("all-last", -1)):
        picks = {choice: names[place] for choice, names in candidates.items()}
        if space.allows(config, picks):
            found[name] = picks
    while len(found) < CALIBRATION_NETWORKS:
        found[f"random-{len(found)}"] = space.random_picks(config, rng)
    return found


def fit_calibration(sums_ms: Sequence[float], measured: Sequence[Measured]) -> Calibration:
    """Least-squares line from summed rows to whole networks, with leave-one-out errors."""
    x, y = np.array(sums_ms), np.array([entry.ms for entry in measured])

    def fit(keep: NDArray[np.bool_]) -> tuple[float, float]:
        weights = 1.0 / y[keep]
        design = np.stack([np.ones(keep.sum()), x[keep]], 1) * weights[:, None]
        (intercept, slope), *_ = np.linalg.lstsq(design, y[keep] * weights, rcond=None)
        return float(intercept), float(slope)

    errors = []
    for index in range(len(y)):
        keep = np.arange(len(y)) != index
        intercept, slope = fit(keep)
        errors.append(abs(intercept + slope * x[index] - y[index]) / y[index])
    intercept, slope = fit(np.ones(len(y), dtype=bool))
    return Calibration(
        intercept_ms=intercept,
        slope=slope,
        mape=float(np.mean(errors)),
        worst=float(np.max(errors)),
        networks=tuple(measured),
        sums_ms=tuple(float(value) for value in x),
    )


def _size_table(
    space: Space[Any],
    config: SpaceConfig,
    size: tuple[int, int],
    rows: dict[OpKey, float],
    chains: Sequence[Measured],
    whole: Sequence[Measured],
    networks: dict[str, dict[str, str]],
) -> SizeTable:
    terms = space.cost_terms(config)
    sums = [sum(rows[t.key] for t in terms if t.holds(networks[entry.id])) for entry in whole]
    return SizeTable(
        height=size[0],
        width=size[1],
        rows=tuple(
            Row(
                operation=key.operation,
                in_channels=key.in_channels,
                out_channels=key.out_channels,
                divisor=key.divisor,
                ms=ms,
            )
            for key, ms in rows.items()
        ),
        chains=tuple(chains),
        calibration=fit_calibration(sums, whole),
    )


def _time_group(
    graphs: dict[str, bytes],
    target: Target,
    size: tuple[int, int],
    rule: StabilityRule,
    seed: int,
    anchor: tuple[bytes, tuple[int, int]],
) -> dict[str, Any]:
    """Time a group and its anchor; plain JSON, so that the journal can keep it."""
    before = time_graphs({ANCHOR: anchor[0]}, target, anchor[1], rule, seed=seed)[ANCHOR]
    timings = time_graphs(graphs, target, size, rule, seed=seed)
    after = time_graphs({ANCHOR: anchor[0]}, target, anchor[1], rule, seed=seed)[ANCHOR]
    return {
        "anchor_ms": min(before.ms, after.ms),
        "timings": [
            {"id": name, "raw_ms": t.ms, "spread": t.spread, "runs": t.runs, "stable": t.stable}
            for name, t in timings.items()
        ],
    }


def _export_picks(space: Space[Any], config: SpaceConfig, picks: dict[str, str]) -> bytes:
    network = space.build(space.genotype(config, picks))
    return export_onnx(network, multiple=network.multiple, scale=network.scale)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _scaled(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    return size[0] // divisor, size[1] // divisor


def _journal_key(
    space: Space[Any], config: SpaceConfig, target: Target, sizes: Sequence[tuple[int, int]], seed: int
) -> str:
    host = describe_host()
    return content_hash(
        [PROTOCOL, space.name, space.version, config.model_dump(mode="json"), target.slug, list(map(list, sizes)), seed,
         host.model_dump(mode="json")]
    )  # fmt: skip


class _Journal:
    """Finished groups of one measurement, kept on disk until the table is whole."""

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._content: dict[str, Any] = {"key": key, "groups": {}}
        if path.is_file():
            found = json.loads(path.read_text())
            if found.get("key") == key:
                self._content = found

    @property
    def anchor_ms(self) -> float:
        """The anchor in the first group: what all others are scaled to."""
        first = next(iter(self._content["groups"].values()))
        return float(first["anchor_ms"])

    def once(self, name: str, measure: Callable[[], dict[str, Any]]) -> list[Measured]:
        """The group's corrected timings, measured now unless they were before."""
        groups = self._content["groups"]
        if name not in groups:
            groups[name] = measure()
            write_json(self._path, self._content)
        drift = self.anchor_ms / groups[name]["anchor_ms"]
        return [Measured(ms=entry["raw_ms"] * drift, **entry) for entry in groups[name]["timings"]]

    def close(self) -> None:
        """The table is written; the journal is no longer needed."""
        self._path.unlink(missing_ok=True)
