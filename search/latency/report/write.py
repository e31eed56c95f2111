"""The files of the report."""

from pathlib import Path

import matplotlib as mpl

from search.files import write_text
from search.latency.report.agreement import agreement
from search.latency.report.facts import Facts
from search.latency.report.heat_map import heat_map
from search.latency.report.noise import noise
from search.latency.report.page import page
from search.latency.report.picture import STYLE, Picture
from search.latency.report.scaling import scaling
from search.latency.table import LatencyTable

PAGE = "latency.html"


def write_latency_report(table: LatencyTable, out: Path) -> list[Path]:
    """Draw a table, and write its page, which holds the figures once more and needs no other file.

    Args:
        table: What to report; may lack rows, checks or all sizes but one, and then the page says so.
        out: The folder; made if it is not there. Files of an earlier report are replaced.

    Returns:
        The files: the page first, then one PNG per figure.

    Raises:
        ModelError: The table's space is unknown, or does not know its config.
    """
    facts = Facts(table)
    with mpl.rc_context():
        # A person's own settings must not change the report.
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        drawn = [(picture, picture.png()) for picture in draw(facts)]
    images = {out / f"{picture.name}.png": content for picture, content in drawn}
    for path, content in images.items():
        _write_bytes(path, content)
    write_text(out / PAGE, page(facts, drawn))
    return [out / PAGE, *images]


def draw(facts: Facts) -> list[Picture]:
    """All figures, in the order of the page."""
    return [heat_map(facts), agreement(facts), scaling(facts), noise(facts)]


def _write_bytes(path: Path, content: bytes) -> None:
    """Write beside the file's place, then rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".writing")
    partial.write_bytes(content)
    partial.replace(path)
