from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.service import BACKSTOP_S
from serving.settings import PREFIX, Settings


def test_defaults_need_no_variable_and_put_the_users_runs_first() -> None:
    settings = Settings.from_environment({"HOME": "/x"})
    assert (settings.bundles, settings.target) == ((Path("runs"), Path("zoo")), "auto")


def test_every_field_is_read_from_its_variable() -> None:
    given = {
        "MILLISIGHT_BUNDLES": os.pathsep.join(["/a", "", "b c"]),
        "MILLISIGHT_TARGET": "cpu-onnxruntime-fp32-1t",
        "MILLISIGHT_MAX_BODY_BYTES": "2048",
        "MILLISIGHT_MAX_PIXELS": "10",
        "MILLISIGHT_MAX_OUTPUT_PIXELS": "20",
        "MILLISIGHT_SLOTS": "3",
        "MILLISIGHT_REQUEST_TIMEOUT": "1.5",
        "MILLISIGHT_READ_TIMEOUT": "2",
    }
    assert {name.removeprefix(PREFIX).lower() for name in given} == set(Settings.model_fields)
    settings = Settings.from_environment(given)
    assert settings == Settings(
        bundles=(Path("/a"), Path("b c")),
        target="cpu-onnxruntime-fp32-1t",
        max_body_bytes=2048,
        max_pixels=10,
        max_output_pixels=20,
        slots=3,
        request_timeout=1.5,
        read_timeout=2,
    )


def test_an_unknown_variable_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"MILLISIGHT_SLOT\..*MILLISIGHT_SLOTS"):
        Settings.from_environment({"MILLISIGHT_SLOT": "3"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MILLISIGHT_SLOTS", "0"),
        ("MILLISIGHT_SLOTS", "many"),
        ("MILLISIGHT_BUNDLES", ""),
        ("MILLISIGHT_MAX_BODY_BYTES", "-1"),
        ("MILLISIGHT_REQUEST_TIMEOUT", "0"),
        ("MILLISIGHT_REQUEST_TIMEOUT", "nan"),
        ("MILLISIGHT_READ_TIMEOUT", "100000"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}={value!r}"):
        Settings.from_environment({name: value})


def test_our_deadlines_come_before_bentomls() -> None:
    longest = Settings(request_timeout=280, read_timeout=280)
    assert longest.request_timeout + longest.read_timeout < BACKSTOP_S


def test_the_table_in_the_docstring_is_complete() -> None:
    described = set(re.findall(r"MILLISIGHT_[A-Z_]+(?= \|)", Settings.__doc__ or ""))
    assert described == {PREFIX + name.upper() for name in Settings.model_fields}
