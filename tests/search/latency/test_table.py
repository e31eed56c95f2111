import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import get_space
from runtime import HostInfo, Target, describe_host, device_name, engine_version
from search import TableError
from search.latency.table import SCHEMA_VERSION, LatencyTable

MakeTable = Callable[..., LatencyTable]
REMEDY = "millisight latency measure"
TARGET = Target.parse("cpu-onnxruntime-fp32-1t")
ENGINE = engine_version(TARGET)


def test_json_round_trip(make_table: MakeTable, tmp_path: Path) -> None:
    table = make_table()
    table.save(tmp_path / "new" / "t.json")
    again = LatencyTable.load(tmp_path / "new" / "t.json")
    assert again == table
    assert again.id == table.id
    assert table.model_copy(update={"anchor_ms": 1.5}).id != table.id


def test_a_missing_table_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"no latency table at .*gone.json; `{REMEDY} --out .*gone.json` makes one"):
        LatencyTable.load(tmp_path / "gone.json")


@pytest.mark.parametrize("version", [0, 1, "2", None])
def test_another_schema_version_is_refused(make_table: MakeTable, tmp_path: Path, version: object) -> None:
    content = make_table().model_dump(mode="json") | {"schema_version": version}
    path = tmp_path / "t.json"
    path.write_text(json.dumps(content))
    with pytest.raises(
        TableError, match=f"schema version {version}, this code reads {SCHEMA_VERSION}; `{REMEDY} --out"
    ):
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
        "target": TARGET,
        "space": space,
        "config": space.parse_config(table.space_config),
        "device": device_name(TARGET),
        "engine": ENGINE,
    }
    table.require(**(asked | other))


def sat(table: LatencyTable, **fields: Any) -> LatencyTable:
    """The table as if its sitting had been another."""
    return table.model_copy(update={"sessions": (table.session.model_copy(update=fields),)})


def host(**fields: Any) -> HostInfo:
    return describe_host().model_copy(update=fields)


def test_the_same_place_is_accepted(make_table: MakeTable) -> None:
    require(make_table())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.model_copy(update={"target": "cpu-onnxruntime-fp32-2t"}), "target cpu-onnxruntime-fp32-2t"),
        (lambda t: sat(t, device="Abacus 3000"), "device Abacus 3000"),
        (lambda t: sat(t, engine="onnxruntime 0.9"), "engine onnxruntime 0.9"),
        (lambda t: sat(t, engine=ENGINE.replace("onnxruntime", "openvino")), "engine openvino"),
        (lambda t: t.model_copy(update={"space_version": 7}), "space unet v7"),
        (lambda t: t.model_copy(update={"space": "ring"}), "space ring v1"),
        (lambda t: t.model_copy(update={"protocol": "stopwatch-1"}), "protocol stopwatch-1"),
    ],
)
def test_a_table_of_something_else_is_refused_with_the_remedy(
    make_table: MakeTable, change: Callable[[LatencyTable], LatencyTable], named: str
) -> None:
    table = change(make_table())
    with pytest.raises(TableError, match=rf"something else: {named}.* \(wanted .*`{REMEDY} --target cpu-onnxruntime"):
        require(table)
    with pytest.raises(TableError, match="again with `do this`"):
        require(table, remedy="do this")


@pytest.mark.parametrize(
    ("change", "offered"),
    [
        ({"device": "Abacus 3000"}, True),
        ({"device": "Abacus 3000", "engine": "onnxruntime 0.9"}, True),
        ({"engine": "onnxruntime 0.9"}, True),
        ({}, False),
    ],
)
def test_where_only_the_device_differs_a_search_for_it_is_offered(
    make_table: MakeTable, change: dict[str, str], offered: bool
) -> None:
    table = sat(make_table(space_version=1 if offered else 7), **change)
    with pytest.raises(TableError) as refused:
        require(table)
    assert ("millisight search --elsewhere" in str(refused.value)) == offered
    with pytest.raises(TableError, match="space unet v9") as refused:
        require(table.model_copy(update={"space_version": 9}))
    assert "--elsewhere" not in str(refused.value)


def test_of_a_device_elsewhere_everything_else_is_checked(make_table: MakeTable) -> None:
    far = sat(make_table(), device="Abacus 3000", engine="onnxruntime 0.9")
    require(far, device=None, engine=None)
    for change in ({"target": "cpu-onnxruntime-fp32-2t"}, {"space_version": 7}, {"protocol": "stopwatch-1"}):
        with pytest.raises(TableError, match=f"something else: {next(iter(change)).split('_')[0]}"):
            require(far.model_copy(update=change), device=None, engine=None)


def test_a_table_of_another_config_is_refused(make_table: MakeTable) -> None:
    other = get_space("unet").parse_config({"channels": (8,)})
    with pytest.raises(TableError, match=rf"config .* \(wanted .*{REMEDY}"):
        require(make_table(), config=other)


def test_every_difference_is_named(make_table: MakeTable) -> None:
    table = make_table(target="cpu-onnxruntime-fp32-9t", space_version=3)
    with pytest.raises(TableError, match=r"target .*9t.*; space unet v3"):
        require(table)


def test_what_does_not_change_times_may_differ(make_table: MakeTable) -> None:
    require(sat(make_table(), host=host(python="3.99.0", system="Linux elsewhere"), code_version="9"))


@pytest.mark.parametrize(
    ("field", "value"), [("engine", "onnxruntime 0.9"), ("clock", "wall"), ("device", "Abacus 3000")]
)
def test_sittings_of_different_engines_devices_or_clocks_are_no_table(
    make_table: MakeTable, tmp_path: Path, field: str, value: str
) -> None:
    table = make_table()
    mixed = table.model_copy(update={"sessions": (table.session, table.session.model_copy(update={field: value}))})
    mixed.save(tmp_path / "t.json")
    with pytest.raises(TableError, match=r"(?s)mixes timings of different engines, devices or clocks.*latency measure"):
        LatencyTable.load(tmp_path / "t.json")
    table.model_copy(update={"sessions": (table.session, table.session)}).save(tmp_path / "t.json")
    assert len(LatencyTable.load(tmp_path / "t.json").sessions) == 2


def test_a_timing_of_no_sitting_is_refused(make_table: MakeTable, tmp_path: Path) -> None:
    content = make_table().model_dump(mode="json")
    content["sizes"][0]["calibration"]["networks"][0]["session"] = 3
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match="without a session: reference"):
        LatencyTable.load(tmp_path / "t.json")


@pytest.mark.parametrize("key", ["mape", "worst", "bias", "tau"])
def test_an_embellished_accuracy_is_refused(make_table: MakeTable, tmp_path: Path, key: str) -> None:
    content = make_table().model_dump(mode="json")
    content["checks"][1]["accuracy"][key] = 0.001
    (tmp_path / "t.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match="held-out check does not follow from its timings"):
        LatencyTable.load(tmp_path / "t.json")
