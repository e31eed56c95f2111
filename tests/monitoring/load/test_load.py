"""Load on the real service: what is sent, when, and what is said of the answers."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from monitoring.load import (
    FORMATS,
    Answer,
    Body,
    LoadError,
    LoadPlan,
    Offer,
    offers,
    photo,
    picture_bodies,
    send,
    summarise,
)
from monitoring.load.answers import percentile
from tests.servers import Server, free_port, running_server, write_known_bundles

OFFERED = (Offer("denoise"), Offer("derain"), Offer("super-resolution", 2), Offer("super-resolution", 4))
SIZES = ((64, 48), (100, 80))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running_server(folder, write_known_bundles(tmp_path_factory.mktemp("bundles"))) as running:
        yield running


@pytest.fixture(scope="module")
def bodies() -> tuple[tuple[Body, ...], tuple[Body, ...]]:
    return picture_bodies(OFFERED, SIZES, tuple(FORMATS), seed=1)


def sent(plan: LoadPlan) -> list[Answer]:
    return send(plan, lambda _gone, _answer: None)[0]


@pytest.mark.slow
def test_the_service_says_what_it_offers(server: Server) -> None:
    assert offers(server.url) == OFFERED
    assert offers(server.url, ["denoise"]) == (Offer("denoise"),)


def test_a_service_that_is_not_there_is_said() -> None:
    with pytest.raises(LoadError, match=r"No answer.*running there"):
        offers(f"http://127.0.0.1:{free_port()}")


@pytest.mark.slow
def test_every_picture_is_restored_and_every_bad_file_is_refused(
    server: Server, bodies: tuple[tuple[Body, ...], tuple[Body, ...]]
) -> None:
    good, bad = bodies
    for body in good + bad:
        (answer,) = sent(LoadPlan(server.url, (body,), callers=1, requests=1))
        assert answer.restored == body.good, (body.kind, answer.code)
        assert body.good or answer.code.startswith("4"), (body.kind, answer.code)


@pytest.mark.slow
def test_a_mixed_load_is_counted_by_code(server: Server, bodies: tuple[tuple[Body, ...], tuple[Body, ...]]) -> None:
    good, bad = bodies
    plan = LoadPlan(server.url, good, bad, rate=40.0, seconds=1.5, bad_share=0.3, deadline_ms=5000, seed=3)
    answers = sent(plan)
    assert [answer.restored for answer in answers] == [answer.good for answer in answers]
    summary = summarise(answers, 1.5, 5000)
    assert summary.offered == len(answers) == sum(times.count for times in summary.by_code.values())
    assert summary.restored == summary.by_code["200"].count == sum(t.count for t in summary.by_task.values())
    assert {code[0] for code in summary.by_code} == {"2", "4"}
    assert not any(body.good for body in bad)


@pytest.mark.slow
def test_an_impossible_deadline_is_refused_and_counts_as_nothing_good(
    server: Server, bodies: tuple[tuple[Body, ...], tuple[Body, ...]]
) -> None:
    answers = sent(LoadPlan(server.url, bodies[0], callers=2, requests=6, deadline_ms=1))
    summary = summarise(answers, 1.0, 1)
    assert (summary.offered, summary.in_time) == (6, 0)
    assert all(code[:3] in {"503", "504"} for code in summary.by_code)


def test_nobody_there_is_broken_and_ends_in_time() -> None:
    body = Body("/v1/denoise", "denoise", "png", "image/png", b"x")
    plan = LoadPlan(f"http://127.0.0.1:{free_port()}", (body,), rate=50.0, seconds=0.4)
    answers, seconds = send(plan, lambda _gone, _answer: None)
    assert {answer.code for answer in answers} == {"broken"}
    assert seconds < 30
    assert {answer.code for answer in sent(replace(plan, rate=0.0, callers=2, requests=3))} == {"broken"}


def test_what_is_sent_follows_from_the_seed_and_its_share(bodies: tuple[tuple[Body, ...], tuple[Body, ...]]) -> None:
    good, bad = bodies
    plan = LoadPlan("http://127.0.0.1", good, bad, rate=1.0, bad_share=0.25, seed=5)

    def kinds(plan: LoadPlan) -> list[str]:
        return [f"{body.route} {body.kind}" for body, _ in zip(plan.bodies(), range(2000), strict=False)]

    assert kinds(plan) == kinds(plan)
    assert kinds(plan) != kinds(replace(plan, seed=6))
    share = sum(kind.split()[-1] not in FORMATS for kind in kinds(plan)) / 2000
    assert 0.2 < share < 0.3
    routes = Counter(body.route for body, _ in zip(plan.bodies(), range(2000), strict=False) if body.good)
    assert len(routes) == 4 * len(FORMATS)


def test_pictures_are_of_their_size_and_look_like_photographs() -> None:
    (good, _) = picture_bodies([Offer("super-resolution", 4)], [(320, 240)], ["png"], seed=0)
    assert Image.open(io.BytesIO(good[0].data)).size == (80, 60)
    picture = photo(200, 120, np.random.default_rng(0))
    assert picture.shape == (120, 200, 3)
    assert (picture == photo(200, 120, np.random.default_rng(0))).all()
    flat, noise = np.zeros_like(picture), np.random.default_rng(0).integers(0, 256, picture.shape, np.uint8)
    sizes = [len(_jpeg(pixels)) for pixels in (flat, picture, noise)]
    assert 2 * sizes[0] < sizes[1] < sizes[2] / 2


def test_what_is_no_load_is_refused() -> None:
    body = Body("/v1/denoise", "denoise", "png", "image/png", b"x")
    for wrong in ({"rate": 0.0}, {"rate": 1.0, "callers": 1}, {"rate": 1.0, "good": ()}):
        with pytest.raises(ValueError, match=r"rate|picture"):
            LoadPlan(**({"url": "http://127.0.0.1", "good": (body,)} | wrong))  # type: ignore[arg-type]


def test_percentiles_are_values_that_were_there() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0], 1) == 3.0


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_it_needs_no_more_than_the_image_of_the_service_has() -> None:
    heavy = {"matplotlib", "torch", "grafana_foundation_sdk", "yaml", "scipy"}
    code = f"import sys; import monitoring.load, millisight.loading; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
