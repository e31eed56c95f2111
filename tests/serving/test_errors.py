from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from runtime.errors import EngineError, ImageError
from serving import errors
from serving.errors import RequestError, refusal_of


def every_refusal(base: type[RequestError] = RequestError) -> Iterator[type[RequestError]]:
    for child in base.__subclasses__():
        yield child
        yield from every_refusal(child)


def test_the_tree_at_the_top_of_the_file_is_true() -> None:
    # Packages of the room have an errors module each, with a tree and a test of their own.
    drawn = dict(re.findall(r"(\w+Error)\s+(\d{3})", errors.__doc__ or ""))
    own = [kind for kind in every_refusal() if kind.__module__ == errors.__name__]
    assert drawn == {kind.__name__: str(kind.status) for kind in own}


def test_no_code_has_two_statuses() -> None:
    statuses: dict[str, int] = {}
    for kind in every_refusal():
        assert statuses.setdefault(kind.code, kind.status) == kind.status


def test_a_picture_that_cannot_be_read_keeps_its_own_status() -> None:
    refusal = refusal_of(ImageError("cut short", code="corrupt", status=422))
    assert (refusal.status, refusal.code, refusal.message, refusal.reason) == (422, "corrupt", "cut short", "corrupt")


def test_an_engine_that_fails_is_our_fault() -> None:
    assert (refusal_of(EngineError("NaN")).status, refusal_of(EngineError("NaN")).code) == (500, "model_output_invalid")


@pytest.mark.parametrize("defect", [ValueError("secret path /etc"), KeyError("x"), MemoryError()])
def test_a_defect_tells_nothing_of_the_inside(defect: Exception) -> None:
    refusal = refusal_of(defect)
    assert (refusal.status, refusal.code) == (500, "internal_error")
    assert "secret" not in refusal.message
