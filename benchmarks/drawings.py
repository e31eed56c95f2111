"""The drawings of the methods' page: `python -m benchmarks.drawings`. A test holds that nothing is left to do.

Draws each genotype `docs/methods/<method>.json` into `docs/methods/<method>.svg`. `--search FOLDER` searches new
genotypes first, each for its paper's first task, on this machine.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from search import METHODS, paper_task
from search.drawing import draw_svg, genotype_diagram, load_genotype

FOLDER = Path(__file__).parent.parent / "docs" / "methods"
SETTINGS = ("--preset", "quick", "--size", "128x128", "--target", "cpu-onnxruntime-fp32-1t", "--device", "cpu")


def command(method: str) -> list[str]:
    """The search whose genotype is drawn."""
    task = paper_task(next(found for found in METHODS if found.name == method))
    scale = ["--scale", str(task.scale)] if task.scale > 1 else []
    return ["millisight", "search", "--method", method, "--task", task.name, *scale, *SETTINGS]


def drawn(method: str) -> str:
    """The method's picture, as SVG."""
    return draw_svg(genotype_diagram(load_genotype(FOLDER / f"{method}.json")))


def main() -> None:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", type=Path, help="folder of the runs; finished ones are not run again")
    arguments = parser.parse_args()
    for method in (found.name for found in METHODS):
        if arguments.search is not None:
            out = arguments.search / method
            subprocess.run([*command(method), "--out", str(out)], check=True)
            (genotype,) = out.glob("*/genotype.json")
            shutil.copyfile(genotype, FOLDER / f"{method}.json")
        (FOLDER / f"{method}.svg").write_text(drawn(method))
        print(f"docs/methods/{method}.svg")


if __name__ == "__main__":
    main()
