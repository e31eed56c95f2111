"""The README's picture: `python -m benchmarks.pictures`. Input and answer of every zoo bundle, side by side.

Photographs come from scikit-image and are free; everything runs through `Restorer`, the code that serves.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime import Bundle, Picture, Restorer, write_image
from tasks import Sample, embedded_photographs, get_task, validation_pair

OUT = Path("docs/images/before-after.png")
SIDE = 240
GAP = 6
ROWS = (
    ("derain", "astronaut", "medium", (20, 150)),
    ("denoise", "coffee", "sigma50", (60, 130)),
    ("super-resolution-x2", "chelsea", None, (40, 110)),
    ("super-resolution-x4", "chelsea", None, (40, 110)),
)
"""Bundle, photograph, severity, and where the shown square of the clean picture begins (row, column)."""


def main() -> None:
    """Draw two columns of bundles; each shows what went in beside what came out."""
    photographs = embedded_photographs()
    samples = {Path(sample.name).stem: sample for sample in (*photographs.train, *photographs.valid)}
    cells = [_cell(bundle, samples[name], severity, corner) for bundle, name, severity, corner in ROWS]
    gap = np.ones((3, SIDE, GAP * 2), dtype=np.float32)
    bands = [np.concatenate([cells[i], gap, cells[i + 1]], axis=2) for i in range(0, len(cells), 2)]
    line = np.ones((3, GAP * 2, bands[0].shape[2]), dtype=np.float32)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_image(OUT, Picture.from_float(np.concatenate([bands[0], line, bands[1]], axis=1)))
    print(f"written to {OUT}")


def _cell(bundle: str, sample: Sample, severity: str | None, corner: tuple[int, int]) -> NDArray[np.float32]:
    restorer = Restorer.load(Bundle.load(Path("zoo") / bundle))
    manifest = restorer.bundle.manifest
    task = get_task(manifest.task, manifest.scale)
    degraded = np.clip(validation_pair(task, sample, severity or task.severities[0]).degraded, 0.0, 1.0)
    restored = restorer.restore_array(degraded)
    # What went in is shown at the size of what came out, every pixel a square.
    shown = degraded.repeat(task.scale, axis=1).repeat(task.scale, axis=2)
    top, left = corner
    before, after = (image[:, top : top + SIDE, left : left + SIDE] for image in (shown, restored))
    return np.concatenate([before, np.ones((3, SIDE, GAP), dtype=np.float32), after], axis=2)


if __name__ == "__main__":
    main()
