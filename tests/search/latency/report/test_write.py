import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from models import spaces
from search.latency.report import write_latency_report
from search.latency.report.facts import Facts
from search.latency.report.heat_map import heat_map
from search.latency.report.page import page
from search.latency.report.picture import percent
from search.latency.report.write import draw
from search.latency.table import LatencyTable
from tests.search.latency.report.reading import Page

Plant = Callable[..., LatencyTable]
MakeTable = Callable[..., LatencyTable]
FILES = ["latency.html", "heat-map.png", "predicted-vs-measured.png", "time-vs-pixels.png", "coverage.png"]


def numbers_of(table: LatencyTable) -> dict[str, list[list[str]]]:
    """What the page's tables must say, worked out from the file alone."""
    keys = sorted({(r.operation, r.in_channels, r.out_channels, r.divisor) for s in table.sizes for r in s.rows})
    ms = [
        {(row.operation, row.in_channels, row.out_channels, row.divisor): f"{row.ms:.4g}" for row in size.rows}
        for size in table.sizes
    ]
    return {
        "row-list": [[k[0], f"{k[1]}→{k[2]}", f"1/{k[3]}", *(size.get(k, "missing") for size in ms)] for k in keys],
        "checks": [
            [
                check.kind,
                f"{check.width}x{check.height}",
                str(len(check.networks)),
                percent(check.accuracy.mape),
                percent(check.accuracy.worst),
            ]
            for check in table.checks
        ],
        "sizes": [
            [
                f"{size.width}x{size.height}",
                f"{len(size.rows)} of {len(keys)}",
                f"{size.calibration.intercept_ms:.4g} + {size.calibration.slope:.4g} × rows",
                str(len(size.calibration.networks)),
            ]
            for size in table.sizes
        ],
    }


def says(seen: Page, table: LatencyTable) -> bool:
    return all(
        [row[: len(wanted[0])] for row in seen.tables[name][1:]] == wanted for name, wanted in numbers_of(table).items()
    )


def assert_sound(seen: Page, text: str) -> None:
    """Well-formed (or it would not have been read), self-contained, readable without pictures."""
    assert seen.all("html") == [{"lang": "en"}]
    assert seen.title
    assert len(seen.all("img")) == 4
    for image in seen.all("img"):
        assert image["src"].startswith("data:image/png;base64,")
        assert len(image["alt"]) > 30
    assert len(seen.ids()) == len(set(seen.ids()))
    for link in seen.all("a"):
        assert link["href"].removeprefix("#") in seen.ids()
    assert not {"script", "link", "iframe"} & {tag for tag, _ in seen.elements}
    assert not any(word in text for word in ("http:", "https:", "url(", "@import"))
    assert "prefers-color-scheme: dark" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", spaces())
def test_every_space_has_a_report(plant: Plant, tmp_path: Path, name: str) -> None:
    table = plant(name, sizes=((64, 64), (128, 128)))
    out = tmp_path / "report"
    if name == "unet":  # elsewhere the folder is new
        out.mkdir()
        (out / FILES[0]).write_text("an older report")
        (out / FILES[1]).write_text("an older figure")
    files = write_latency_report(table, out)
    assert files == [out / file for file in FILES]
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    text = files[0].read_text(encoding="utf-8")
    seen = Page(text)
    assert_sound(seen, text)
    assert says(seen, table)
    inside = [base64.b64decode(image["src"].partition(",")[2]) for image in seen.all("img")]
    assert inside == [path.read_bytes() for path in files[1:]]
    for path in files[1:]:
        with Image.open(path) as image:
            assert 1200 <= image.width <= 1800
            pixels = np.asarray(image.convert("L"))
        # Ink, and paper around it.
        assert 0.005 < (pixels < 200).mean() < 0.9
        assert (pixels[:3] == 255).all()


@pytest.fixture(scope="module")
def table(plant: Plant) -> LatencyTable:
    return plant()


def read(table: LatencyTable) -> Page:
    """Text without figures is quick."""
    return Page(page(Facts(table), []))


def test_a_wrong_number_is_noticed(table: LatencyTable) -> None:
    seen = read(table)
    assert says(seen, table)
    size = table.sizes[1]
    row = size.rows[2].model_copy(update={"ms": 1.01 * size.rows[2].ms})
    line = size.calibration.model_copy(update={"slope": 1.01 * size.calibration.slope})
    for wrong in (
        size.model_copy(update={"rows": (*size.rows[:2], row, *size.rows[3:])}),
        size.model_copy(update={"calibration": line}),
    ):
        assert not says(seen, table.model_copy(update={"sizes": (table.sizes[0], wrong, table.sizes[2])}))
    worse = table.checks[0].accuracy.model_copy(update={"worst": 1.1 * table.checks[0].accuracy.worst})
    check = table.checks[0].model_copy(update={"accuracy": worse})
    assert not says(seen, table.model_copy(update={"checks": (check, *table.checks[1:])}))


def test_the_header_says_where_and_when(table: LatencyTable) -> None:
    text = read(table).text
    session = table.session
    for part in (
        table.id,
        table.target,
        session.host.device,
        session.engine,
        session.date,
        f"unet v{table.space_version}",
    ):
        assert part in text


def test_every_session_is_listed(table: LatencyTable) -> None:
    changed = {"date": "2026-02-03T04:05:06+00:00", "disturbance": 0.372, "conditions": {"governor": "powersave"}}
    later = table.session.model_copy(update=changed)
    seen = read(table.model_copy(update={"sessions": (table.session, later)}))
    first, second = seen.tables["session-list"][1:]
    assert first[1] == table.session.date
    assert first[5] == "not readable"
    assert second[0] == "1"
    assert second[1] == later.date
    assert second[5] == "governor: powersave"
    assert second[-1] == "37.2 %"
    assert f"{table.session.date} to {later.date}" in seen.text


HOSTILE = '<script>alert("1")</script> & $\\frac{$ </title><img src=x>'


def test_a_hostile_name_is_text(table: LatencyTable, tmp_path: Path) -> None:
    host = table.session.host.model_copy(update={"device": HOSTILE, "packages": {HOSTILE: HOSTILE}})
    changed = {"host": host, "engine": HOSTILE, "conditions": {HOSTILE: HOSTILE}, "code_version": HOSTILE}
    session = table.session.model_copy(update=changed)
    row = table.sizes[0].rows[0].model_copy(update={"operation": HOSTILE, "ms": 1e6})
    parts = []
    for part in table.sizes:
        networks = tuple(
            entry.model_copy(update={"id": HOSTILE, "stable": False}) if entry.id == "all-last" else entry
            for entry in part.calibration.networks
        )
        calibration = part.calibration.model_copy(update={"networks": networks})
        parts.append(part.model_copy(update={"rows": (*part.rows, row), "calibration": calibration}))
    target = {"target": HOSTILE, "sessions": (session,), "sizes": tuple(parts)}
    files = write_latency_report(table.model_copy(update=target), tmp_path)
    text = files[0].read_text(encoding="utf-8")
    seen = Page(text)
    assert_sound(seen, text)
    assert "<script>" not in text
    assert HOSTILE in seen.title
    assert seen.tables["session-list"][1][2] == HOSTILE
    assert seen.tables["session-list"][1][5] == f"{HOSTILE}: {HOSTILE}"
    assert HOSTILE in [cells[0] for cells in seen.tables["row-list"]]
    assert HOSTILE in [cells[0] for cells in seen.tables["unstable-list"]]


def test_without_checks_the_page_says_so(table: LatencyTable) -> None:
    words = "This table has no checks"
    assert words not in read(table).text
    seen = read(table.model_copy(update={"checks": ()}))
    assert words in seen.text
    assert "checks" not in seen.tables
    assert [row[4] for row in seen.tables["sizes"][1:]] == ["unknown"] * 3


def test_one_size_is_enough_and_said(plant: Plant, table: LatencyTable) -> None:
    words = "One size was measured"
    assert words not in read(table).text
    assert words in read(plant(sizes=((128, 128),))).text


def test_unstable_timings_are_said_and_listed(table: LatencyTable) -> None:
    def settled(stable: bool) -> LatencyTable:
        content = table.model_dump(mode="json")
        for part in (*content["sizes"], *content["checks"]):
            for entry in (
                *part.get("chains", ()),
                *part.get("networks", ()),
                *part.get("calibration", {}).get("networks", ()),
            ):
                entry["stable"] = True
        content["sizes"][0]["chains"][1] |= {"stable": stable, "error": 0.0421}
        return LatencyTable.model_validate(content)

    calm = read(settled(True))
    assert "unstable-list" not in calm.tables
    assert "None: all" in calm.text
    seen = read(settled(False))
    (row,) = seen.tables["unstable-list"][1:]
    chain = table.sizes[0].chains[1]
    assert row == [chain.id, "128x128", "chain", "0", f"{chain.ms:.4g}", "4.2 %", str(chain.runs)]
    assert f"1 of {len(Facts(table).timings)} timings are unstable" in seen.text
    assert seen.tables["sizes"][1][6] == "1"


def test_missing_rows_are_said_and_named(table: LatencyTable) -> None:
    assert "No price" not in read(table).text
    gone, *rows = table.sizes[0].rows
    part = table.sizes[0].model_copy(update={"rows": tuple(rows)})
    incomplete = table.model_copy(update={"sizes": (part, *table.sizes[1:])})
    assert len(draw(Facts(incomplete))) == 4
    seen = read(incomplete)
    name = f"{gone.operation} {gone.in_channels}->{gone.out_channels} @1/{gone.divisor}"
    assert f"No price at 128x128 for 1 of {len(rows) + 1} rows: {name}." in seen.text
    assert "missing" in [cell for cells in seen.tables["row-list"] for cell in cells]


def test_a_bare_table_has_the_same_report_whatever_settings_matplotlib_has(
    make_table: MakeTable, tmp_path: Path
) -> None:
    bare = make_table(sizes=((32, 32),), checks=())
    plain = [path.read_bytes() for path in write_latency_report(bare, tmp_path / "a")]
    assert len(plain) == len(FILES)
    loud: dict[Any, Any] = {"axes.facecolor": "red", "font.size": 20.0, "lines.linewidth": 9.0}
    with mpl.rc_context(loud):
        assert [path.read_bytes() for path in write_latency_report(bare, tmp_path / "b")] == plain
        assert mpl.rcParams["font.size"] == 20.0
        assert heat_map(Facts(bare)).png() != plain[1]
