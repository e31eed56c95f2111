from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from runtime.host import usable_cores
from serving.errors import SettingsError
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
        "MILLISIGHT_WORKERS": "2",
        "MILLISIGHT_SLOTS": "3",
        "MILLISIGHT_THREADS": "4",
        "MILLISIGHT_QUEUE": "5",
        "MILLISIGHT_PICTURE_BYTES": "2000000",
        "MILLISIGHT_BODY_BYTES_TOTAL": "4096",
        "MILLISIGHT_REQUEST_TIMEOUT": "1.5",
        "MILLISIGHT_READ_TIMEOUT": "2",
        "MILLISIGHT_WRITE_TIMEOUT": "3",
        "MILLISIGHT_API_KEYS": "/keys.json",
        "MILLISIGHT_CORS_ORIGINS": "https://a.example, http://localhost:1,",
        "MILLISIGHT_STATE": "/state",
        "MILLISIGHT_WATCH_S": "10",
        "MILLISIGHT_JOBS": "redis://localhost:6379/1",
        "MILLISIGHT_JOB_TTL_S": "60",
        "MILLISIGHT_JOB_MAX_FILES": "7",
        "MILLISIGHT_JOB_MAX_BYTES": "5000",
        "MILLISIGHT_JOB_DISK_BYTES": "6000",
    }
    assert {name.removeprefix(PREFIX).lower() for name in given} == set(Settings.model_fields)
    settings = Settings.from_environment(given)
    assert settings == Settings(
        bundles=(Path("/a"), Path("b c")),
        target="cpu-onnxruntime-fp32-1t",
        max_body_bytes=2048,
        max_pixels=10,
        max_output_pixels=20,
        workers=2,
        slots=3,
        threads=4,
        queue=5,
        picture_bytes=2_000_000,
        body_bytes_total=4096,
        request_timeout=1.5,
        read_timeout=2,
        write_timeout=3,
        api_keys=Path("/keys.json"),
        cors_origins=("https://a.example", "http://localhost:1"),
        state=Path("/state"),
        watch_s=10,
        jobs="redis://localhost:6379/1",
        job_ttl_s=60,
        job_max_files=7,
        job_max_bytes=5000,
        job_disk_bytes=6000,
    )


def test_an_unknown_variable_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"MILLISIGHT_SLOT\..*MILLISIGHT_SLOTS"):
        Settings.from_environment({"MILLISIGHT_SLOT": "3"})


def test_the_clients_key_is_no_setting() -> None:
    assert Settings.from_environment({"MILLISIGHT_API_KEY": "x"}) == Settings()


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
        ("MILLISIGHT_WORKERS", "0"),
        ("MILLISIGHT_JOBS", "mysql"),
    ],
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}={value!r}"):
        Settings.from_environment({name: value})


def test_the_table_in_the_docstring_is_complete() -> None:
    described = set(re.findall(r"MILLISIGHT_[A-Z_]+(?= \|)", Settings.__doc__ or ""))
    assert described == {PREFIX + name.upper() for name in Settings.model_fields}


def test_the_cores_are_shared_out_between_workers_and_slots() -> None:
    cores = usable_cores()
    assert Settings().slot_threads == cores
    assert Settings(workers=64, slots=64).slot_threads == max(1, cores // 4096)
    assert Settings(workers=2, threads=7).slot_threads == 7
