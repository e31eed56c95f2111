"""The report as one HTML page that needs nothing else: figures are inside, nothing is fetched, nothing runs."""

import base64
import json
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from search.latency.report.agreement import NO_CHECKS
from search.latency.report.facts import Facts, Size, noise_floor, size_label, size_of
from search.latency.report.markup import add, add_table, to_html
from search.latency.report.picture import Picture, percent
from search.latency.table import Session

CSS = """
:root { color-scheme: light dark; --ink: #1d2430; --paper: #ffffff; --pale: #5b6675; --line: #d5dae1;
        --sheet: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --paper: #14181f; --pale: #9aa5b4; --line: #333b47; --sheet: #1d232d; }
}
body { margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
p, figcaption { max-width: 50rem; } figcaption { color: var(--pale); margin-top: .5rem; }
nav a { color: inherit; margin-right: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; } dt { color: var(--pale); }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 0; } img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.wide { overflow-x: auto; margin: .8rem 0; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--pale); padding-bottom: .3rem; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid var(--line); font-weight: normal; white-space: nowrap; }
thead th { font-weight: 600; background: var(--sheet); vertical-align: bottom; }
.words { text-align: left; } .number { text-align: right; }
.alarm { border-left: 4px solid #d55e00; padding-left: .8rem; }
"""

SECTIONS = {"numbers": "Key numbers", "sessions": "Sessions", "unstable": "Unstable timings", "rows": "Every row"}


def page(facts: Facts, drawn: Sequence[tuple[Picture, bytes]]) -> str:
    """The whole document.

    Args:
        facts: Of the table.
        drawn: Figures with their PNG files.
    """
    table = facts.table
    root = Element("html", lang="en")
    head, body = add(root, "head"), add(root, "body")
    add(head, "meta", charset="utf-8")
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    title = f"Latency of {table.space} on {table.target}"
    add(head, "title", title)
    add(head, "style", CSS)
    _header(add(body, "header"), facts, title)
    navigation = add(body, "nav")
    figures = {picture.name: picture.title for picture, _ in drawn}
    for name, text in ({"numbers": SECTIONS["numbers"]} | figures | SECTIONS).items():
        add(navigation, "a", text, href=f"#{name}").tail = " "
    main = add(body, "main")
    _numbers(_section(main, "numbers"), facts)
    for picture, content in drawn:
        _figure(main, picture, content)
    _sessions(_section(main, "sessions"), table.sessions)
    _unstable(_section(main, "unstable"), facts)
    _rows(_section(main, "rows"), facts)
    return to_html(root)


def _section(main: Element, name: str) -> Element:
    made = add(main, "section", id=name)
    add(made, "h2", SECTIONS[name])
    return made


def _header(into: Element, facts: Facts, title: str) -> None:
    table, host = facts.table, facts.table.session.host
    add(into, "h1", title)
    listed = add(into, "dl")
    dates = list(dict.fromkeys(session.date for session in table.sessions))
    for name, value in {
        "device": f"{host.device}, {host.cores} cores usable",
        "system": host.system,
        "engine": table.session.engine,
        "measured": " to ".join(dict.fromkeys([min(dates), max(dates)])),
        "clock": table.session.clock,
        "anchor": f"{table.anchor_ms:.4g} ms undisturbed",
        "space": f"{table.space} v{table.space_version}",
        "config": json.dumps(table.space_config),
        "protocol": f"{table.protocol}, schema {table.schema_version}",
        "packages": ", ".join(f"{package} {version}" for package, version in host.packages.items()),
        "table": table.id,
    }.items():
        add(listed, "dt", name)
        add(listed, "dd", value)


def _numbers(into: Element, facts: Facts) -> None:
    for size, gone in facts.missing.items():
        if gone:
            names = ", ".join(str(key) for key in gone)
            text = f"No price at {size_label(size)} for {len(gone)} of {len(facts.wanted)} rows: {names}."
            add(into, "p", text, class_="alarm")
    if facts.unstable:
        text = f"{len(facts.unstable)} of {len(facts.timings)} timings are unstable; they are listed below."
        add(into, "p", text, class_="alarm")
    if not facts.table.checks:
        add(into, "p", NO_CHECKS, class_="alarm")
    if len(facts.sizes) == 1:
        add(into, "p", "One size was measured: predictions elsewhere are in proportion to pixels.", class_="alarm")
    header = (
        "size", "rows priced", "whole network, ms", "networks", "stated error", "timings", "unstable",
        "noise floor, chains", "noise floor, networks",
    )  # fmt: skip
    caption = (
        "Per measured size. A whole network is the fixed part plus the slope times the sum of its rows; the stated "
        "error is what predictions at the size come with; the noise floor is the median standard error."
    )
    add_table(into, "sizes", caption, header, [_size_cells(facts, size) for size in facts.rows])
    if facts.table.checks:
        columns = ("check", "size", "networks", "MAPE", "worst", "bias", "rank correlation τ")
        caption = "Predictions of networks that were not used for them. Positive bias: predicted too slow."
        add_table(into, "checks", caption, columns, _check_cells(facts), texts=2)


def _size_cells(facts: Facts, size: Size) -> list[str]:
    line = next(part.calibration for part in facts.sizes if size_of(part) == size)
    timings = facts.at(size)
    wanted = len(facts.wanted)
    return [
        size_label(size),
        f"{wanted - len(facts.missing[size])} of {wanted}",
        f"{line.intercept_ms:.4g} + {line.slope:.4g} × rows",
        str(len(line.networks)),
        _share(facts.stated_error(size)),
        str(len(timings)),
        str(sum(not timed.entry.stable for timed in timings)),
        _share(noise_floor(timings, "chain")),
        _share(noise_floor(timings, "network")),
    ]


def _check_cells(facts: Facts) -> list[list[str]]:
    return [
        [
            check.kind,
            size_label(size_of(check)),
            str(len(check.networks)),
            percent(check.accuracy.mape),
            percent(check.accuracy.worst),
            ("+" if check.accuracy.bias > 0 else "") + percent(check.accuracy.bias),
            "undefined" if check.accuracy.tau is None else f"{check.accuracy.tau:.3f}",
        ]
        for check in facts.table.checks
    ]


def _share(value: float | None) -> str:
    return "unknown" if value is None else percent(value)


def _figure(main: Element, picture: Picture, content: bytes) -> None:
    section = add(main, "section", id=picture.name)
    add(section, "h2", picture.title)
    shown = add(section, "figure")
    data = base64.b64encode(content).decode()
    add(shown, "img", src=f"data:image/png;base64,{data}", alt=picture.alt)
    add(shown, "figcaption", picture.caption)


def _sessions(into: Element, sessions: Sequence[Session]) -> None:
    header = ("session", "date", "engine", "device", "clock", "conditions", "code", "anchor, ms", "disturbance")
    rows = [
        [
            str(number),
            session.date,
            session.engine,
            session.host.device,
            session.clock,
            ", ".join(f"{name}: {value}" for name, value in session.conditions.items()) or "not readable",
            session.code_version or "not recorded",
            f"{session.anchor_ms:.4g}",
            percent(session.disturbance),
        ]
        for number, session in enumerate(sessions)
    ]
    caption = (
        "Every sitting at the machine. The anchor is a fixed piece of work that runs between all others; the "
        "disturbance is how much slower than at its best it typically was."
    )
    add_table(into, "session-list", caption, header, rows, texts=7)


def _unstable(into: Element, facts: Facts) -> None:
    if not facts.unstable:
        add(into, "p", f"None: all {len(facts.timings)} timings settled within their rule.")
        return
    header = ("graph", "size", "kind", "session", "ms", "standard error", "runs")
    rows = [
        [
            timed.entry.id,
            size_label(timed.size),
            timed.kind,
            str(timed.entry.session),
            f"{timed.entry.ms:.4g}",
            percent(timed.entry.error),
            str(timed.entry.runs),
        ]
        for timed in facts.unstable
    ]
    caption = "Their standard error did not come within the rule before its limits. The loosest first."
    add_table(into, "unstable-list", caption, header, rows, texts=3)


def _rows(into: Element, facts: Facts) -> None:
    header = ("operation", "channels", "at", *(f"ms at {size_label(size)}" for size in facts.rows))
    rows = []
    for key in facts.keys:
        found = [prices.get(key) for prices in facts.rows.values()]
        cells = ["missing" if ms is None else f"{ms:.4g}" for ms in found]
        rows.append([key.operation, f"{key.in_channels}→{key.out_channels}", f"1/{key.divisor}", *cells])
    caption = "Milliseconds of every row, as solved from the chains; a prediction multiplies them by the slope above."
    add_table(into, "row-list", caption, header, rows, texts=3)
