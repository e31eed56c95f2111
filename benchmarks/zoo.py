"""How the bundles of zoo/ were made: `python -m benchmarks.zoo denoise --data-root DATA`.

DATA holds `train_clean/` (folders of clean photographs) and `train_rain/Rain800_concat` (clean and rainy side by
side). Interrupt it at any time; the same command goes on. The run is exported with `millisight export`, which adds fp16
and int8 and chooses the default target. `--install` copies the finished bundle to zoo/.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from runtime import Bundle
from search import RunConfig, format_report, search_latency_aware

CLEAN_FOLDERS = ("BSDS500", "DIV2K_test_LRx4", "SunHays80", "debian_photos")
CLEAN_NOTE = (
    "Clean photographs, degraded on the fly: BSDS500 (363 images without those that occur in evaluation sets), the 100 "
    "DIV2K test images as downsampled x4 by their authors, 78 scenes of Sun & Hays, 32 photographs out of Debian "
    "wallpaper packages; nine tenths for training, one tenth held out. Several of these sets are for research only and "
    "are not part of this project."
)
RAIN_NOTE = (
    "The 578 training pairs of Rain800 (Zhang et al., ID-CGAN; nine tenths for training, one tenth held out), and "
    "BSDS500 photographs under synthetic streaks. Both sets are for research only and are not part of this project."
)


CPU_ONLY = "cpu-onnxruntime-fp32,cpu-onnxruntime-int8,cpu-openvino-fp32,cpu-openvino-int8"
EXPORTED = {"super-resolution-x2": CPU_ONLY}
"""Bundle to its targets where that is not `auto`: with an fp16 file this one would be larger than 4 MB."""


def zoo_configs(data_root: str) -> dict[str, RunConfig]:
    """The four runs, by bundle name."""
    clean = ",".join(f"{data_root}/train_clean/{name}" for name in CLEAN_FOLDERS)
    rain = f"{data_root}/train_rain/Rain800_concat:side-by-side-clean-first,{data_root}/train_clean/BSDS500"
    target = "cpu-onnxruntime-fp32-1t"
    common = {"target": target, "preset": "thorough", "device": "cpu"}
    return {
        "denoise": RunConfig(
            task="denoise", budget_ms=200.0, height=512, width=512, data=clean, data_note=CLEAN_NOTE,
            train={"batch": 8, "steps": 15000, "restarts": [10000]}, **common,
        ),
        "derain": RunConfig(
            task="derain", budget_ms=200.0, height=512, width=512, data=rain, data_note=RAIN_NOTE,
            train={"steps": 4500}, **common,
        ),
        "super-resolution-x2": RunConfig(
            task="super-resolution", scale=2, budget_ms=200.0, height=256, width=256, data=clean, data_note=CLEAN_NOTE,
            search={"patch": 32}, train={"patch": 36}, **common,
        ),
        "super-resolution-x4": RunConfig(
            task="super-resolution", scale=4, budget_ms=100.0, height=160, width=160, data=clean, data_note=CLEAN_NOTE,
            search={"patch": 32}, train={"patch": 36, "steps": 4500}, **common,
        ),
    }  # fmt: skip


def main() -> None:
    """Run one of the four, on one core."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", choices=sorted(zoo_configs("")))
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--install", action="store_true", help="copy the finished bundle to zoo/")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = zoo_configs(arguments.data_root)[arguments.bundle]
    command = f"python -m benchmarks.zoo {arguments.bundle} --data-root DATA"
    report = search_latency_aware(config, arguments.out, command=command)
    print(format_report(report))
    run, targets = Path(report["bundle"]).parent, EXPORTED.get(arguments.bundle, "auto")
    export = [sys.executable, "-m", "millisight.cli", "export", os.fspath(run), "--targets", targets]
    subprocess.run(export, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if arguments.install:
        place = Path("zoo") / arguments.bundle
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(report["bundle"], place)
        print(f"installed {Bundle.load(place).manifest.name} as {os.fspath(place)}")


if __name__ == "__main__":
    main()
