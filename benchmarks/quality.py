"""dB of the zoo's bundles on public sets: `python -m benchmarks.quality --sets FOLDER`.

FOLDER holds `CBSD68/`, `Set5/`, `Set14/` (clean images) and `Rain800_concat/` (clean and rainy side by side, of which
the part that training held out is scored). Everything runs through `Restorer`, the code that serves: in float32, and
on the target that each bundle names as its default. Noise is Gaussian, unclipped, seeded by image name; low-resolution
images are rounded to 8 bits; conventions are the field's (RGB for denoising, luma for the others, border of `scale`
pixels cut for super-resolution).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import Row, write_results
from runtime import Bundle, Restorer
from runtime.target import PLAIN
from tasks import Sample, Task, ValidationPair, evaluate, get_task, load_data, validation_pair, validation_pairs


def main() -> None:
    """Score every bundle of zoo/ on the sets made for its task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--zoo", type=Path, default=Path("zoo"))
    parser.add_argument("--limit", type=int, default=1000, help="images per set, to try the script out")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for folder in sorted(path for path in arguments.zoo.iterdir() if (path / "manifest.json").is_file()):
        bundle = Bundle.load(folder)
        plain, served = (Restorer.load(bundle, target) for target in (PLAIN, bundle.manifest.default_target))
        task = get_task(bundle.manifest.task, bundle.manifest.scale)
        for name, pairs in _sets(task, arguments.sets, arguments.limit).items():
            quality = evaluate(task, pairs, plain.restore_array, f"{folder.name} on {name}")
            again = evaluate(task, pairs, served.restore_array, f"{folder.name} on {name}, as served")
            rows.append(
                {
                    "bundle": folder.name,
                    "set": name,
                    "images": quality.images,
                    "metric": f"PSNR-{task.metric_channel.upper()}",
                    "input dB": quality.degraded_db,
                    "restored dB": quality.restored_db,
                    "gain dB": quality.restored_db - quality.degraded_db,
                    "served on": bundle.manifest.default_target,
                    "served dB": again.restored_db,
                }
            )
    write_results("quality", "make bench-quality SETS=FOLDER", rows)


def _sets(task: Task, root: Path, limit: int) -> dict[str, list[ValidationPair]]:
    if task.name == "denoise":
        samples = _all(root / "CBSD68")[:limit]
        return {f"CBSD68 {severity}": _at(task, samples, severity) for severity in task.severities}
    if task.name == "super-resolution":
        return {name: _rounded(_at(task, _all(root / name)[:limit], task.severities[0])) for name in ("Set5", "Set14")}
    rain = load_data(f"{root / 'Rain800_concat'}:side-by-side-clean-first")
    return {"Rain800 held out": validation_pairs(task, rain.valid, min(limit, len(rain.valid)))}


def _all(folder: Path) -> tuple[Sample, ...]:
    images = load_data(f"{folder}:clean")
    return tuple(sorted((*images.train, *images.valid), key=lambda sample: sample.name))


def _at(task: Task, samples: Sequence[Sample], severity: str) -> list[ValidationPair]:
    return [validation_pair(task, sample, severity) for sample in samples]


def _rounded(pairs: list[ValidationPair]) -> list[ValidationPair]:
    """Low-resolution images as files hold them."""
    return [ValidationPair(p.name, np.round(p.degraded * np.float32(255)) / np.float32(255), p.clean) for p in pairs]


if __name__ == "__main__":
    main()
