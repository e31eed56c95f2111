"""`draw`."""

from pathlib import Path
from typing import Annotated

import typer

from millisight.console import require


def draw(
    genotype: Annotated[Path, typer.Argument(exists=True, help="a genotype's JSON file, or the folder of a run")],
    out: Annotated[Path, typer.Option(help="the SVG file")] = Path("network.svg"),
) -> None:
    """Draw a searched network, with what the search left out in pale."""
    require("torch", "search,cpu")
    from search.drawing import draw_svg, genotype_diagram, load_genotype

    found = load_genotype(genotype)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draw_svg(genotype_diagram(found)))
    typer.echo(f"{out}: genotype {found.id} of space {found.space}")
