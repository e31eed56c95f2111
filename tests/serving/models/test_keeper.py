from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.checksums import SUMS_NAME, hash_file, sums_text
from runtime.errors import BundleError, TargetError
from runtime.manifest import MANIFEST_NAME
from serving.errors import SettingsError
from serving.models import Catalogue, Change, ModelKeeper
from tests.servers import known_network, write_known_bundle
from tests.serving.models.conftest import gain_of, settings_for
from tests.serving.models.test_loaded import half_size, not_a_number

Make = Callable[..., ModelKeeper]


def gains(keeper: ModelKeeper) -> dict[str, float]:
    return {model.name: gain_of(model) for model in keeper.catalogue.models}


SERVED = {"first": 0.5, "second": 0.25, "rain": 1.0}


# --- the start


def test_what_is_served_at_the_start(keeper: ModelKeeper) -> None:
    assert gains(keeper) == SERVED
    assert keeper.catalogue.ready


def test_a_broken_bundle_among_good_ones_is_told_and_the_others_are_served(
    zoo: Path, make_keeper: Make, caplog: pytest.LogCaptureFixture
) -> None:
    (zoo / "a" / "model.onnx").write_bytes(b"damaged")
    write_known_bundle(zoo / "d", "worse", "derain", model=not_a_number())
    keeper = make_keeper(settings_for(zoo))
    keeper.open()
    keeper.warm_up()
    assert gains(keeper) == {"second": 0.25, "rain": 1.0}
    told = {card["name"]: card for card in keeper.catalogue.describe_refused()}
    assert "model.onnx" in told["first"]["reason"]
    assert "not numbers" in told["worse"]["reason"]
    assert not any(card["served"] for card in told.values())
    assert [record.levelname for record in caplog.records if "is not served" in record.message] == ["ERROR", "ERROR"]


@pytest.mark.parametrize(("folders", "told"), [("abc", "None of the bundles"), ("", "No bundle under")])
def test_none_left_is_no_start(tmp_path: Path, make_keeper: Make, folders: str, told: str) -> None:
    root = tmp_path / "zoo"
    root.mkdir()
    for folder in folders:
        write_known_bundle(root / folder, folder, "derain")
        (root / folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(SettingsError, match=told):
        make_keeper(settings_for(root)).open()


def test_none_left_after_the_warm_up_is_no_start(tmp_path: Path, make_keeper: Make) -> None:
    write_known_bundle(tmp_path / "zoo" / "x", "x", "derain", model=not_a_number())
    keeper = make_keeper(settings_for(tmp_path / "zoo"))
    keeper.open()
    with pytest.raises(SettingsError, match="not numbers"):
        keeper.warm_up()
    assert not keeper.catalogue.ready


def test_a_root_or_a_target_that_is_named_must_be_there(zoo: Path, make_keeper: Make) -> None:
    with pytest.raises(BundleError, match="nowhere"):
        make_keeper(settings_for(zoo, zoo / "nowhere")).open()
    with pytest.raises(TargetError, match="cpu-onnxruntime-fp32"):
        make_keeper(settings_for(zoo, target="cuda-openvino-fp32")).open()


# --- reload


def test_a_reload_without_a_change_keeps_the_very_same_engines(keeper: ModelKeeper) -> None:
    before = keeper.catalogue.models
    assert keeper.reload() == Change()
    assert all(new is old for new, old in zip(keeper.catalogue.models, before, strict=True))


def test_a_reload_takes_in_what_is_new_swaps_what_changed_and_drops_what_is_gone(
    keeper: ModelKeeper, zoo: Path
) -> None:
    write_known_bundle(zoo / "0", "new", "denoise", gain=0.125)
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    shutil.rmtree(zoo / "b")
    change = keeper.reload()
    assert change == Change(loaded=("new",), swapped=("first",), unloaded=("second",))
    assert list(gains(keeper).items()) == [("new", 0.125), ("first", 0.75), ("rain", 1.0)]  # in the roots' order


def test_a_request_keeps_the_model_it_chose(keeper: ModelKeeper, zoo: Path) -> None:
    catalogue = keeper.catalogue
    (chosen, *_) = catalogue.candidates("denoise")
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    shutil.rmtree(zoo / "c")
    keeper.reload()
    assert gain_of(chosen) == 0.5
    assert gain_of(catalogue.candidates("derain")[0]) == 1.0
    assert gain_of(keeper.catalogue.candidates("denoise")[0]) == 0.75


def test_a_bundle_that_moves_keeps_its_engine_and_changes_its_place(keeper: ModelKeeper, zoo: Path) -> None:
    rain = keeper.catalogue.find("rain")
    assert rain is not None
    (zoo / "c").rename(zoo / "0")
    assert keeper.reload() == Change()
    assert [model.name for model in keeper.catalogue.models] == ["rain", "first", "second"]
    assert keeper.catalogue.models[0].restorers is rain.restorers


def test_what_a_bundle_hid_is_served_once_that_is_gone(make_keeper: Make, tmp_path: Path) -> None:
    runs, zoo = tmp_path / "runs", tmp_path / "zoo"
    write_known_bundle(runs / "x", "twin", "denoise", gain=0.5)
    write_known_bundle(zoo / "x", "twin", "denoise", gain=0.25)
    write_known_bundle(zoo / "y", "other", "denoise", gain=1.0)
    keeper = make_keeper(settings_for(runs, zoo))
    keeper.open()
    keeper.warm_up()
    # Broken, it stays, and keeps its place; gone, it makes way.
    (runs / "x" / "manifest.json").write_text("{")
    change = keeper.reload()
    assert [(refusal.name, refusal.label) for refusal in change.refused] == [("twin", "runs/x")]
    assert list(gains(keeper).items()) == [("twin", 0.5), ("other", 1.0)]
    assert keeper.catalogue.describe_refused()[0]["served"]
    shutil.rmtree(runs / "x")
    assert keeper.reload().swapped == ("twin",)
    assert list(gains(keeper).items()) == [("twin", 0.25), ("other", 1.0)]
    assert keeper.catalogue.refused == ()


def test_a_root_that_cannot_be_read_any_more_keeps_its_models(keeper: ModelKeeper, zoo: Path) -> None:
    zoo.rename(zoo.with_name("elsewhere"))
    change = keeper.reload()
    assert [refusal.label for refusal in change.refused] == ["zoo"]
    assert gains(keeper) == SERVED
    zoo.with_name("elsewhere").rename(zoo)
    assert keeper.reload() == Change()


# --- bad bundles: each leaves the old one serving


def truncated(folder: Path) -> None:
    write_known_bundle(folder, "first", "denoise", model=known_network(1, 0.75)[:-100])


def refused_by_the_engine(folder: Path) -> None:
    graph = known_network(1, 0.75).replace(b"DepthToSpace", b"DepthToSpoon")
    write_known_bundle(folder, "first", "denoise", model=graph)


def yields_nan(folder: Path) -> None:
    write_known_bundle(folder, "first", "denoise", model=not_a_number())


def yields_no_picture(folder: Path) -> None:
    write_known_bundle(folder, "first", "denoise", model=half_size())


def wrong_hash(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(known_network(1, 0.75))


def from_the_future(folder: Path) -> None:
    content = json.loads((folder / MANIFEST_NAME).read_text()) | {"schema_version": 3}
    (folder / MANIFEST_NAME).write_text(json.dumps(content))
    hashes = {**content["files"], MANIFEST_NAME: hash_file(folder / MANIFEST_NAME)}
    (folder / SUMS_NAME).write_text(sums_text(hashes))


def lacks_the_precision(folder: Path) -> None:
    write_known_bundle(folder, "first", "denoise", models={"int8": "model-int8.onnx"})


BAD = [
    (truncated, "refused by ONNX Runtime"),
    (refused_by_the_engine, "refused by ONNX Runtime"),
    (yields_nan, "not numbers"),
    (yields_no_picture, "at its warm-up"),
    (wrong_hash, r"model\.onnx of the bundle zoo/a is damaged"),
    (from_the_future, "schema version 3"),
    (lacks_the_precision, "no fp32 file"),
]


@pytest.mark.parametrize(("spoil", "told"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_bundle_leaves_the_old_one_in_place(
    keeper: ModelKeeper, zoo: Path, spoil: Callable[[Path], None], told: str
) -> None:
    before = keeper.catalogue.find("first")
    write_known_bundle(zoo / "d", "new", "denoise", gain=0.125)
    spoil(zoo / "a")
    change = keeper.reload()
    (refusal,) = change.refused
    assert refusal.name == "first"
    assert re.search(told, refusal.reason)
    assert change.loaded == ("new",)  # one bad bundle does not stop the others
    assert gains(keeper) == {**SERVED, "new": 0.125}
    assert keeper.catalogue.find("first") is before
    assert keeper.catalogue.loading == ()
    (card,) = keeper.catalogue.describe_refused()
    assert (card["name"], card["state"], card["served"]) == ("first", "refused", True)
    # Mended, it is taken in, and nothing is refused any more.
    shutil.rmtree(zoo / "a")
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    assert keeper.reload() == Change(swapped=("first",))
    assert gains(keeper)["first"] == 0.75
    assert keeper.catalogue.refused == ()


# --- load and unload


def test_unloaded_stays_unloaded_until_it_is_loaded_again(keeper: ModelKeeper, zoo: Path) -> None:
    assert keeper.unload("first") == Change(unloaded=("first",))
    assert keeper.unload("first") == Change()
    assert [model.name for model in keeper.catalogue.candidates("denoise")] == ["second"]
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    assert keeper.reload() == Change()
    assert keeper.catalogue.unloaded == {"first"}
    assert keeper.load("first") == Change(loaded=("first",))
    assert list(gains(keeper)) == ["first", "second", "rain"]
    assert gains(keeper)["first"] == 0.75
    assert keeper.catalogue.unloaded == frozenset()


def test_loading_one_leaves_the_others_as_they_are(keeper: ModelKeeper, zoo: Path) -> None:
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    write_known_bundle(zoo / "b", "second", "denoise", gain=0.125)
    shutil.rmtree(zoo / "c")
    assert keeper.load("second") == Change(swapped=("second",))
    assert gains(keeper) == {"first": 0.5, "second": 0.125, "rain": 1.0}


def test_a_bad_bundle_that_is_loaded_again_is_refused(keeper: ModelKeeper, zoo: Path) -> None:
    keeper.unload("first")
    truncated(zoo / "a")
    (refusal,) = keeper.load("first").refused
    assert "refused by ONNX Runtime" in refusal.reason
    assert gains(keeper) == {"second": 0.25, "rain": 1.0}


def test_what_was_unloaded_is_left_alone_at_the_start_even_if_nothing_else_is_there(
    zoo: Path, make_keeper: Make
) -> None:
    keeper = make_keeper(settings_for(zoo))
    keeper.open(unloaded=("first", "second", "rain"))
    keeper.warm_up()
    assert keeper.catalogue.ready
    assert keeper.catalogue.models == ()
    keeper.load("rain")
    assert gains(keeper) == {"rain": 1.0}


def test_names_it_knows(keeper: ModelKeeper, zoo: Path) -> None:
    keeper.unload("first")
    write_known_bundle(zoo / "d", "new", "denoise")
    assert [keeper.knows(name) for name in ("first", "second", "new", "nothing", "../zoo/a", str(zoo / "a"))] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


# --- while it serves


Answer = tuple[float, float | Exception]


@contextmanager
def callers(keeper: ModelKeeper, task: str, count: int = 3) -> Iterator[list[Answer]]:
    """Threads that go on asking for a task; yields what they get and when they asked."""
    answers: list[Answer] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            asked = time.monotonic()
            try:
                answers.append((asked, gain_of(keeper.catalogue.candidates(task)[0])))
            except Exception as error:
                answers.append((asked, error))

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(ask)
        try:
            yield answers
        finally:
            ended.set()


def wait_for_more(answers: list[Answer], more: int = 5) -> None:
    wanted, limit = len(answers) + more, time.monotonic() + 30
    while len(answers) < wanted and time.monotonic() < limit:
        time.sleep(0.001)
    assert len(answers) >= wanted


def test_a_swap_under_load_fails_no_request_and_never_mixes_versions(keeper: ModelKeeper, zoo: Path) -> None:
    versions = [0.5, 0.75, 0.125, 0.625]
    swapped = [0.0]
    with callers(keeper, "denoise") as answers:
        wait_for_more(answers)
        for gain in versions[1:]:
            write_known_bundle(zoo / "a", "first", "denoise", gain=gain)
            assert keeper.reload().swapped == ("first",)
            swapped.append(time.monotonic())
            wait_for_more(answers)
        truncated(zoo / "a")
        keeper.reload()
        wait_for_more(answers)
    assert {gain for _, gain in answers} == set(versions)
    for asked, gain in answers:  # never older than the last swap before the question
        assert versions.index(gain) >= sum(moment <= asked for moment in swapped) - 1  # type: ignore[arg-type]


def test_a_gap_would_be_seen(keeper: ModelKeeper) -> None:
    with callers(keeper, "derain") as answers:
        wait_for_more(answers)
        keeper.unload("rain")
        wait_for_more(answers)
    assert {type(answer) for _, answer in answers} > {float}


def test_reloads_at_once_take_their_turns(keeper: ModelKeeper, zoo: Path) -> None:
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    write_known_bundle(zoo / "d", "new", "denoise", gain=0.125)
    with ThreadPoolExecutor(4) as pool:
        changes = list(pool.map(lambda _: keeper.reload(), range(4)))
    # Whatever the order, every change was made once.
    assert [sum(bool(getattr(change, what)) for change in changes) for what in ("loaded", "swapped")] == [1, 1]
    assert gains(keeper) == {**SERVED, "first": 0.75, "new": 0.125}


def test_a_bundle_that_is_away_for_a_moment_is_not_dropped(keeper: ModelKeeper, zoo: Path) -> None:
    away = zoo / ".a.old"  # as `write_bundle` lets it step aside
    (zoo / "a").rename(away)
    back = threading.Timer(0.05, lambda: away.rename(zoo / "a"))
    back.start()
    assert keeper.reload() == Change()
    back.join()
    assert gains(keeper) == SERVED


def test_every_catalogue_is_told_and_none_has_a_gap(zoo: Path, make_keeper: Make) -> None:
    told: list[Catalogue] = []
    keeper = make_keeper(settings_for(zoo), on_change=told.append)
    keeper.open()
    keeper.warm_up()
    begun = len(told)
    write_known_bundle(zoo / "a", "first", "denoise", gain=0.75)
    keeper.reload()
    assert told[-1] is keeper.catalogue
    assert ("first",) in [catalogue.loading for catalogue in told[begun:]]
    assert all([model.name for model in catalogue.models] == list(SERVED) for catalogue in told[begun:])
    assert all(catalogue.ready for catalogue in told[begun:])
