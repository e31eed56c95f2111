from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from runtime.image import LOSSY_FORMATS
from serving.errors import BadValueError, UnknownOptionError
from serving.negotiation import FORMATS, PictureFormat
from serving.options import Options, parse_deadline, parse_options


@pytest.mark.parametrize(
    ("query", "task", "expected"),
    [
        ("", "derain", Options()),
        ("model=a", "denoise", Options(model="a")),
        ("scale=2", "super-resolution", Options(scale=2)),
        ("scale=4&model=b", "super-resolution", Options(model="b", scale=4)),
        ("format=jpeg&quality=100", "derain", Options(format="jpeg", quality=100)),
        ("format=tiff&metadata=keep&model=best", "denoise", Options("best", format="tiff", metadata="keep")),
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


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("format", "gif", "png, webp, jpeg, tiff"),
        ("format", "PNG", "png, webp, jpeg, tiff"),
        ("format", "", "png, webp, jpeg, tiff"),
        ("quality", "0", "from 1 to 100"),
        ("quality", "101", "from 1 to 100"),
        ("quality", "9_0", "from 1 to 100"),
        ("quality", " 9", "from 1 to 100"),
        ("quality", "high", "from 1 to 100"),
        ("quality", "1" * 5000, "from 1 to 100"),
        ("metadata", "all", "strip, keep"),
    ],
)
def test_a_value_out_of_range_names_field_and_range(name: str, value: str, allowed: str) -> None:
    with pytest.raises(BadValueError, match=f"'{name}' is .*{allowed}"):
        parse_options(QueryParams({name: value}), "derain")


def test_a_route_may_read_options_of_its_own() -> None:
    assert parse_options(QueryParams("task=derain"), "derain", also=("task",)) == Options()
    with pytest.raises(UnknownOptionError, match="derain takes: task, model"):
        parse_options(QueryParams("job=1"), "derain", also=("task",))


@pytest.mark.parametrize("chosen", FORMATS)
def test_a_quality_is_refused_where_nothing_is_lost(chosen: PictureFormat) -> None:
    Options().check_format(chosen)
    if chosen in LOSSY_FORMATS:
        Options(quality=80).check_format(chosen)
    else:
        with pytest.raises(BadValueError, match=f"would be {chosen}"):
            Options(quality=80).check_format(chosen)


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, None), ("1", 0.001), ("250", 0.25), (" 1000 ", 1.0), ("3600000", 3600.0)]
)
def test_a_deadline_is_read_in_milliseconds(header: str | None, seconds: float | None) -> None:
    assert parse_deadline(header) == seconds


@pytest.mark.parametrize("header", ["", "0", "-5", "1.5", "3600001", "soon", "1e3", "٢"])
def test_a_deadline_out_of_range_is_refused(header: str) -> None:
    with pytest.raises(BadValueError, match=r"X-Deadline-Ms is .*1 to 3600000"):
        parse_deadline(header)


def test_an_empty_model_name_is_refused() -> None:
    with pytest.raises(BadValueError, match="'model' is empty"):
        parse_options(QueryParams("model="), "derain")
