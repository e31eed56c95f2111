"""Milliseconds per megapixel of every bundle of the zoo on every engine: `make bench-engines`.

Each bundle is timed at its own tile, one tile at a time, on every target of this machine that it has a file for, and in
eager torch; all in turns, in random order, between runs of an anchor. Ratios are of the same sitting. One thread unless
`--threads` says otherwise. The dB lost are those that the gate on the same engine found (`manifest.json`, `steps`).
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.results import Row, write_results
from models import Genotype, build_network
from runtime import Bundle, StabilityRule, Target, clock_for, list_targets, open_engine, time_interleaved
from runtime.target import PLAIN
from search.latency.stopwatch import anchor

EAGER = "eager torch"
EAGER_LAST = "eager torch, channels last"
RULE = StabilityRule(warmup=2, min_runs=12, max_runs=40, tolerance=0.01, max_seconds=40.0)


def main() -> None:
    """Time every bundle of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", type=Path, default=Path("zoo"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--notes", default="", help="what else the machine was doing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[Row] = []
    for folder in sorted(path.parent for path in arguments.zoo.glob("*/manifest.json")):
        rows += _time(Bundle.load(folder), folder.name, arguments.threads)
    write_results("engines", "make bench-engines", rows, arguments.notes)


def _time(bundle: Bundle, name: str, threads: int) -> list[Row]:
    height, width = bundle.manifest.size.tile
    picture = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
    targets = [
        Target.parse(f"{status.slug}-{threads}t")
        for status in list_targets()
        if status.available
        and status.slug.startswith("cpu-")
        and status.slug.rsplit("-", 1)[1] in bundle.manifest.models
    ]
    subjects = {
        target.kind: open_engine(bundle.model_path(target.precision), target).timer(picture) for target in targets
    }
    plain = Target.parse(f"{PLAIN}-{threads}t")
    subjects[EAGER] = _eager(bundle, picture, plain, torch.contiguous_format)
    subjects[EAGER_LAST] = _eager(bundle, picture, plain, torch.channels_last)
    fixed = anchor(plain)
    beat = open_engine(fixed.graph, plain).timer(np.zeros((1, 3, *fixed.size), dtype=np.float32))
    timings, speed = time_interleaved(subjects, beat, RULE, seed=0)
    lost = {step.name.removeprefix("run "): step.db_lost for step in bundle.manifest.steps}
    rows: list[Row] = []
    for kind, timing in timings.items():
        ms = timing.ratio * speed.ms
        rows.append(
            {
                "bundle": name,
                "engine": kind,
                "tile": f"{width}x{height}",
                "ms": ms,
                "ms per megapixel": ms * 1e6 / (height * width),
                "error %": 100 * timing.error,
                "times faster than ONNX Runtime fp32": timings[PLAIN].ratio / timing.ratio,
                "times faster than eager torch": timings[EAGER].ratio / timing.ratio,
                "dB lost": lost.get(kind),
                "default": "yes" if kind == bundle.manifest.default_target else "",
            }
        )
    return rows


def _eager(
    bundle: Bundle, picture: NDArray[np.float32], target: Target, layout: torch.memory_format
) -> Callable[[], float]:
    """The bundle's network in torch; what its weights are does not matter for the time."""
    torch.manual_seed(0)
    network = build_network(Genotype.load(bundle.folder / "genotype.json")).eval().to(memory_format=layout)
    image = torch.from_numpy(picture).to(memory_format=layout)
    now = clock_for(target).now

    def once() -> float:
        start = now()
        with torch.inference_mode():
            network(image)
        return now() - start

    return once


if __name__ == "__main__":
    main()
