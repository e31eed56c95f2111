from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from serving.errors import BadValueError, UnknownOptionError
from serving.options import Options, parse_options


@pytest.mark.parametrize(
    ("query", "task", "expected"),
    [
        ("", "derain", Options()),
        ("model=a", "denoise", Options(model="a")),
        ("scale=2", "super-resolution", Options(scale=2)),
        ("scale=4&model=b", "super-resolution", Options(model="b", scale=4)),
    ],
)
def test_known_options_are_read(query: str, task: str, expected: Options) -> None:
    assert parse_options(QueryParams(query), task) == expected


@pytest.mark.parametrize(
    ("query", "task", "named"),
    [
        ("strength=2", "derain", "strength"),
        ("scale=2", "derain", "scale"),
        ("Model=a", "derain", "Model"),
        ("model=a&model=b", "derain", "model"),
        ("scale=2&tile=64", "super-resolution", "tile"),
    ],
)
def test_other_options_are_refused_by_name(query: str, task: str, named: str) -> None:
    with pytest.raises(UnknownOptionError, match=repr(named)):
        parse_options(QueryParams(query), task)


@pytest.mark.parametrize("value", ["3", "0", "-2", "2.0", "two", "", "٢", "1" * 5000])
def test_a_scale_out_of_range_names_field_and_range(value: str) -> None:
    with pytest.raises(BadValueError, match=r"'scale' is .*Allowed: 2, 4"):
        parse_options(QueryParams({"scale": value}), "super-resolution")


def test_an_empty_model_name_is_refused() -> None:
    with pytest.raises(BadValueError, match="'model' is empty"):
        parse_options(QueryParams("model="), "derain")
