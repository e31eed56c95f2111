"""The model card: the manifest as a page for people."""

import re
from collections.abc import Sequence

from runtime import BundleError, Card, Manifest

__all__ = ["CARD_NAME", "card_text", "read_card"]

CARD_NAME = "card.md"
"""File name of the card in a bundle."""

_SECTIONS = {"data": "Data", "limits": "Limits", "licence": "Licence", "command": "Made with"}


def card_text(manifest: Manifest, card: Card) -> str:
    """The model card, in Markdown; tables that would be empty are left out.

    Args:
        manifest: Gives the numbers.
        card: Gives the prose.
    """
    scale = f" x{manifest.scale}" if manifest.scale > 1 else ""
    because = f": {manifest.default_reason.rstrip('.')}" if manifest.default_reason else ""
    parts = [
        f"# {manifest.name}",
        f"Task: {manifest.task}{scale}. Method: {manifest.method}. Parameters: {manifest.parameters}.\n"
        f"Genotype: {manifest.lineage.genotype}.\n"
        f"Default target: {manifest.default_target}{because}.",
        *_tables(manifest),
    ]
    parts += [f"## {title}\n\n{getattr(card, name)}" for name, title in _SECTIONS.items() if name != "command"]
    parts.append(f"## {_SECTIONS['command']}\n\n    {card.command}")
    return "\n\n".join(parts) + "\n"


def read_card(text: str, source: str) -> Card:
    """The prose of a card that was written before the manifest kept it.

    Args:
        text: Of a `card.md`.
        source: Where it is from, for messages.

    Raises:
        BundleError: If a section is missing; names it.
    """
    found = re.finditer(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    sections = {match[1]: match[2].strip() for match in found}
    if absent := [title for title in _SECTIONS.values() if not sections.get(title)]:
        raise BundleError(
            f"{source} has no section {', '.join(absent)}, and its manifest does not hold it either. Write the section "
            "into a `card` record, or export the bundle again from its run."
        )
    return Card(**{name: sections[title] for name, title in _SECTIONS.items()})


def _tables(manifest: Manifest) -> list[str]:
    steps = [
        [
            step.name, step.status, _number(step.db_lost, "{:.4f}"),
            _number(None if step.max_difference is None else 255 * step.max_difference, "{:.3g}"),
            _number(step.ms, "{:.4g}"), step.why,
        ]
        for step in manifest.steps
    ]  # fmt: skip
    speed = [
        [
            record.target, record.device, record.engine_version, str(record.batch), f"{record.width}x{record.height}",
            f"{record.ms:.4g}", f"{100 * record.spread:.0f}",
        ]
        for record in manifest.speed
    ]  # fmt: skip
    latency = [
        [
            record.target, record.device, f"{record.width}x{record.height}", f"{record.budget_ms:.4g}",
            f"{record.predicted_ms:.4g}", _number(record.measured_ms, "{:.4g}", "not timed"),
        ]
        for record in manifest.latency
    ]  # fmt: skip
    quality = [
        [
            record.step, record.dataset, record.metric, f"{record.degraded_db:.2f}", f"{record.restored_db:.2f}",
            str(record.images),
        ]
        for record in manifest.quality
    ]  # fmt: skip
    tables = (
        ("Budget", ("target", "device", "size", "budget ms", "predicted ms", "measured ms"), latency),
        ("Speed", ("target", "device", "engine", "batch", "size", "ms", "spread %"), speed),
        ("Steps", ("step", "status", "dB lost", "largest difference, grey levels", "ms", "remark"), steps),
        ("Quality", ("step", "images", "metric", "input dB", "restored dB", "count"), quality),
    )
    return [f"## {title}\n\n{_table(header, rows)}" for title, header, rows in tables if rows]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)


def _cell(text: str) -> str:
    # A line break or a bar would end the cell.
    return " ".join(text.split()).replace("|", "/")


def _number(value: float | None, form: str, absent: str = "-") -> str:
    return absent if value is None else form.format(value)
