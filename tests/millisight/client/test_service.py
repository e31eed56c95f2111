"""The clients against the real service, and the examples of the documentation."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from millisight.client import RefusedError
from tests.millisight.client.conftest import Talker
from tests.servers import Server, picture_file

DOCS = Path(__file__).parents[3] / "docs" / "client.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
PIXELS = np.random.default_rng(7).integers(0, 256, (37, 53, 3), dtype=np.uint8)
PNG = picture_file(PIXELS)


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("task", "options", "model", "scale"),
    [
        ("derain", {}, "derain-same", 1),
        ("denoise", {"model": "denoise-same"}, "denoise-same", 1),
        ("super-resolution", {"scale": 2}, "sr-x2", 2),
        ("super-resolution", {"scale": 4, "deadline_ms": 50_000}, "sr-x4", 4),
    ],
)
def test_every_task(
    talk: Talker, service: Server, task: str, options: dict[str, object], model: str, scale: int
) -> None:
    restored = talk.do(service.url, "restore", io.BytesIO(PNG), task, **options)
    assert restored.model == model
    assert restored.media_type == "image/png"
    assert np.array_equal(pixels_of(restored.data), PIXELS.repeat(scale, axis=0).repeat(scale, axis=1))
    assert restored.request_id
    assert restored.timing.inference > 0


def test_the_format_that_is_asked_for(talk: Talker, service: Server) -> None:
    restored = talk.do(service.url, "restore", PNG, "derain", format="webp")
    assert restored.media_type == "image/webp"
    assert np.array_equal(pixels_of(restored.data), PIXELS)


@pytest.mark.parametrize(
    ("data", "task", "options", "status", "code"),
    [
        (b"<html>", "derain", {}, 415, "not_an_image"),
        (PNG[:-60], "derain", {}, 422, "corrupt"),
        (b"", "derain", {}, 400, "empty"),
        (PNG, "derain", {"model": "none"}, 404, "model_not_found"),
        (PNG, "derain", {"scale": 2}, 400, "unknown_option"),
        (PNG, "super-resolution", {"scale": 3}, 422, "bad_value"),
        (PNG, "dehaze", {}, 404, "not_found"),
    ],
)
def test_refusals_are_typed(
    talk: Talker, service: Server, data: bytes, task: str, options: dict[str, object], status: int, code: str
) -> None:
    with pytest.raises(RefusedError) as raised:
        talk.do(service.url, "restore", data, task, **options)
    assert (raised.value.status, raised.value.code) == (status, code)
    assert raised.value.request_id in str(raised.value)
    assert raised.value.message


def test_models_and_ready(talk: Talker, service: Server) -> None:
    assert talk.do(service.url, "ready") is True
    models = talk.do(service.url, "models")
    assert {(model.name, model.task, model.scale) for model in models} >= {("sr-x4", "super-resolution", 4)}
    assert all(model.target == "cpu-onnxruntime-fp32-1t" for model in models)
    assert all(model.lineage["weights"] for model in models)
    assert next(model for model in models if model.task == "derain").default


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("def ")[0].split("\n")[-2][:40])
def test_the_examples_run(
    example: str, service: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for path in ("rainy.png", "photos/a.png", "photos/b.png"):
        (tmp_path / path).write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    assert "http://127.0.0.1:3000" in example
    exec(compile(example.replace("http://127.0.0.1:3000", service.url), str(DOCS), "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


def test_the_documentation_has_examples() -> None:
    assert len(EXAMPLES) == 4
