import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import get_space
from runtime import HostInfo, Target, describe_host
from search import TableError
from search.latency.table import SCHEMA_VERSION, LatencyTable

MakeTable = Callable[..., LatencyTable]
REMEDY = "millisight latency measure"


def test_json_round_trip(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    table.save(tmp_path / "new" / "t.json")
    again = LatencyTable.load(tmp_path / "new" / "t.json")
    assert again == table
    assert again.id == table.id
    assert table.model_copy(update={"anchor_ms": 1.5}).id != table.id


def test_a_missing_table_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"no latency table at .*gone.json; `{REMEDY}`"):
        LatencyTable.load(tmp_path / "gone.json")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(make_table: MakeTable, tmp_path: Path, version: object) -> None:
    content = make_table().model_dump(mode="json") | {"schema_version": version}
    path = tmp_path / "t.json"
    path.write_text(json.dumps(content))
    with pytest.raises(TableError, match=f"schema version {version}, this code reads {SCHEMA_VERSION}; `{REMEDY}`"):
        LatencyTable.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"{}", b"[]", b"3"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content)
    with pytest.raises(TableError, match=REMEDY):
        LatencyTable.load(path)


def test_unknown_and_missing_keys_are_refused(make_table: MakeTable, tmp_path: Path) -> None:
    content = make_table().model_dump(mode="json")
    path = tmp_path / "t.json"
    path.write_text(json.dumps(content | {"surprise": 1}))
    with pytest.raises(TableError, match=r"(?s)surprise.*latency measure"):
        LatencyTable.load(path)
    del content["anchor_ms"]
    path.write_text(json.dumps(content))
    with pytest.raises(TableError, match="anchor_ms"):
        LatencyTable.load(path)


def require(table: LatencyTable, **other: Any) -> None:
    space = get_space("unet")
    asked: dict[str, Any] = {
        "target": Target.parse("cpu-onnxruntime-fp32-1t"),
        "space": space,
        "config": space.parse_config(table.space_config),
        "host": describe_host(),
    }
    table.require(**(asked | other))


def test_the_same_place_is_accepted(make_table: MakeTable) -> None:
    require(make_table())


def changed_host(**fields: Any) -> HostInfo:
    return describe_host().model_copy(update=fields)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("target", "cpu-onnxruntime-fp32-2t", "target cpu-onnxruntime-fp32-2t"),
        ("host", changed_host(device="Abacus 3000"), "device Abacus 3000"),
        ("host", changed_host(packages={"onnxruntime": "0.9"}), "engine onnxruntime 0.9"),
        ("host", changed_host(packages={}), "engine onnxruntime not installed"),
        ("space_version", 7, "space unet v7"),
        ("space", "ring", "space ring v1"),
        ("protocol", "stopwatch-1", "protocol stopwatch-1"),
    ],
)
def test_a_table_of_something_else_is_refused_with_the_remedy(
    make_table: MakeTable, field: str, value: object, named: str
) -> None:
    table = make_table().model_copy(update={field: value})
    space = get_space("unet")
    config = space.parse_config(make_table().space_config)
    with pytest.raises(TableError, match=rf"something else: {named} \(wanted .*`{REMEDY} --target cpu-onnxruntime"):
        table.require(Target.parse("cpu-onnxruntime-fp32-1t"), space, config, describe_host())


def test_a_table_of_another_config_is_refused(make_table: MakeTable) -> None:
    other = get_space("unet").parse_config({"channels": (8,)})
    with pytest.raises(TableError, match=rf"config .* \(wanted .*{REMEDY}"):
        require(make_table(), config=other)


def test_every_difference_is_named(make_table: MakeTable) -> None:
    table = make_table(target="cpu-onnxruntime-fp32-9t", space_version=3)
    with pytest.raises(TableError, match=r"target .*9t.*; space unet v3"):
        require(table)


def test_what_does_not_change_times_may_differ(make_table: MakeTable) -> None:
    require(make_table(host=changed_host(python="3.99.0", system="Linux elsewhere")))
