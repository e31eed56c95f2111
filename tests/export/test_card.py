from collections.abc import Callable
from pathlib import Path

import pytest

from export.card import card_text, read_card
from runtime import Bundle, BundleError, Card, Manifest, SpeedRecord, StepRecord

MakeManifest = Callable[..., Manifest]
ZOO = Path(__file__).parents[2] / "zoo"


def rows(text: str, title: str) -> list[list[str]]:
    """The cells below the head of a section's table."""
    lines = text.split(f"## {title}\n\n")[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_card_says_what_the_manifest_says_and_what_it_cannot(make_manifest: MakeManifest, card: Card) -> None:
    text = card_text(make_manifest(), card)
    for part in (
        "# small-x2", "super-resolution x2", "Method: autoderain", "4321", "g123", "| 32x24 | 10 | 9.25 | 9.5 |",
        "Some CPU", "| torch | held out | psnr-y | 28.13 | 30.00 | 12 |", "| onnx-fp32 |", "Pictures of leaves.",
        "Apache-2.0.", "Expect little.", "    millisight search --preset smoke",
    ):  # fmt: skip
        assert part in text, part
    # Tables are tables: as many cells in each row as in the head.
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_what_was_not_timed_is_no_number_in_the_card(make_manifest: MakeManifest, card: Card) -> None:
    (record,) = make_manifest().latency
    untimed = record.model_copy(update={"measured_ms": None, "spread": None})
    text = card_text(make_manifest(latency=[untimed, record]), card)
    assert "| 32x24 | 10 | 9.25 | not timed |" in text
    assert "| 32x24 | 10 | 9.25 | 9.5 |" in text
    assert "None" not in text


def test_a_same_size_task_has_no_scale_in_its_card(make_manifest: MakeManifest, card: Card) -> None:
    assert "Task: denoise." in card_text(make_manifest(1), card)


def test_tables_of_speed_and_steps(make_manifest: MakeManifest, card: Card) -> None:
    speed = SpeedRecord(
        target="cpu-openvino-int8-2t", device="Some CPU", engine_version="openvino 1", batch=4, height=24, width=32,
        ms=3.14159, spread=0.05, date="2026-01-01",
    )  # fmt: skip
    steps = [
        StepRecord(name="fp16", status="ok", db_lost=0.00012, max_difference=0.5 / 255, ms=2.5, images=3),
        StepRecord(name="int8", status="dropped", why="a bar | and\na line", db_lost=-0.25),
    ]
    text = card_text(make_manifest(speed=[speed], steps=steps, default_reason="it is fastest."), card)
    assert "Default target: cpu-onnxruntime-fp32: it is fastest.\n" in text
    assert rows(text, "Speed") == [["cpu-openvino-int8-2t", "Some CPU", "openvino 1", "4", "32x24", "3.142", "5"]]
    assert rows(text, "Steps") == [
        ["fp16", "ok", "0.0001", "0.5", "2.5", ""],
        ["int8", "dropped", "-0.2500", "-", "-", "a bar / and a line"],
    ]
    plain = card_text(make_manifest(), card)
    assert "Default target: cpu-onnxruntime-fp32.\n" in plain
    assert "## Steps" not in plain  # no table of nothing


def test_the_prose_is_read_back(make_manifest: MakeManifest, card: Card) -> None:
    assert read_card(card_text(make_manifest(), card), "here") == card
    two = card.model_copy(update={"data": "Leaves.\n\nMore leaves."})
    assert read_card(card_text(make_manifest(), two), "here") == two


@pytest.mark.parametrize("folder", sorted(path.parent for path in ZOO.glob("*/manifest.json")), ids=lambda f: f.name)
def test_cards_that_are_out_there_can_be_read(folder: Path) -> None:
    card = read_card(Bundle.load(folder).read("card.md").decode(), str(folder))
    assert card.command.startswith("python -m benchmarks.zoo")
    assert "Apache-2.0" in card.licence
    assert "grey levels (measured)" in card.limits
    assert "##" not in card.data


def test_a_card_that_lacks_a_section_is_refused(make_manifest: MakeManifest, card: Card) -> None:
    text = card_text(make_manifest(), card).replace("## Limits", "## Borders").replace("## Licence", "### Licence")
    with pytest.raises(BundleError, match=r"^here has no section Limits, Licence, and its manifest"):
        read_card(text, "here")
