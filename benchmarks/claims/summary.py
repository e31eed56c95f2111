"""The table of all claims, from their result files: `python -m benchmarks.claims.summary` writes README.md here."""

import json
from pathlib import Path
from typing import Any

from benchmarks.claims.common import RESULTS
from benchmarks.results import markdown

README = Path(__file__).parent / "README.md"

INTRODUCTION = """# Claims

What the five papers, and we, say about their methods, each tested by the smallest experiment that could show it false.
Every script states its rule for the verdict before it runs anything, runs on one thread of a processor, and writes
`../results/claims/<name>.json` with all its rows, seeds, sizes, machine and versions. The experiments are small (a few
channels, a few hundred steps, embedded pictures): a verdict is about this size, not about the papers' tables.

This file is made from the result files by `python -m benchmarks.claims.summary`; a test holds that it agrees with them.

"""


def results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Every result file of a folder, by name."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def page(found: list[dict[str, Any]]) -> str:
    """The whole README: a table, then the rule and the sizes of each experiment.

    Args:
        found: Contents of result files, at least one.
    """
    rows = [
        {
            "claim": result["claim"],
            "source": result["source"],
            "command": f"`{result['command']}`",
            "verdict": f"**{result['verdict']}**",
            "key numbers": result["why"],
        }
        for result in found
    ]
    parts = [INTRODUCTION, markdown(rows), "\n\n## Rules and sizes\n"]
    for result in found:
        seeds = ", ".join(str(seed) for seed in result["seeds"])
        parts.append(
            f"\n**{result['name']}** ({result['date']}, {result['machine']['device']}, seeds {seeds}). It holds if: "
            f"{result['rule']}. Sizes: `{json.dumps(result['sizes'])}`.\n"
        )
    return "".join(parts)


def main() -> None:
    """Write the README."""
    README.write_text(page(results()))
    print(f"written to {README}")


if __name__ == "__main__":
    main()
