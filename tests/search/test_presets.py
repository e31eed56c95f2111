from typing import Any

import pytest
from pydantic import ValidationError

from search import METHODS, Preset
from search.presets import PAPER, paper_preset, shared_preset
from tasks import TASKS, get_task

LENGTHS = ("smoke", "quick", "default", "thorough")
PLAIN, LARGE = get_task("denoise"), get_task("super-resolution", 4)
EVERY = [preset for method in METHODS for task in TASKS for preset in method.recipes(task)]


@pytest.mark.parametrize("name", LENGTHS)
def test_a_shared_preset_is_its_lengths_with_the_methods_own_settings_on_top(name: str) -> None:
    plain = shared_preset(name, {"channels": 8}, PLAIN)
    assert (plain.name, plain.space_config) == (name, {"channels": 8})
    own = shared_preset(
        name, {}, PLAIN, search={"batch": 77, "entropy": 0.5}, train={"lr": 0.5}, relaxations={"width": "gumbel"}
    )
    assert (own.search.batch, own.search.entropy, own.train.lr) == (77, 0.5, 0.5)
    assert own.relaxations == {"width": "gumbel"}
    # What was not named is the same.
    assert own.search.model_copy(update={"batch": plain.search.batch, "entropy": 0.0}) == plain.search
    assert own.train.model_copy(update={"lr": plain.train.lr}) == plain.train
    assert own.summary == plain.summary


@pytest.mark.parametrize("name", LENGTHS)
def test_patches_shrink_where_pictures_are_enlarged_and_networks_still_take_them(name: str) -> None:
    plain, large = shared_preset(name, {}, PLAIN), shared_preset(name, {}, LARGE)
    for before, after in ((plain.search.patch, large.search.patch), (plain.train.patch, large.train.patch)):
        assert 16 <= after <= before
        assert after * 4 <= max(64, 2 * before)
        assert after % 8 == 0


def test_each_length_is_longer_than_the_one_before() -> None:
    presets = [shared_preset(name, {}, PLAIN) for name in LENGTHS]
    lengths = [(p.search.steps + p.search.warmup, p.train.steps, p.measure_seconds) for p in presets]
    for values in zip(*lengths, strict=True):
        assert list(values) == sorted(set(values))


def test_a_paper_preset_ships_the_last_weights() -> None:
    lengths = {"steps": 2, "warmup": 1, "batch": 1, "patch": 16}
    preset = paper_preset({}, lengths, {"steps": 3, "batch": 1, "patch": 16}, train_versions=True)
    assert (preset.name, preset.train.ema_decay, preset.train.warmup) == (PAPER, 0.0, 0)
    assert preset.train_versions
    assert preset.validation_crop is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"search": {"raw_lr": 1.0}}, "raw_lr"),
        ({"train": {"epochs": 3}}, "epochs"),
        ({"relaxations": {"depth": "softmax"}}, "relaxations"),
        ({"spaces": {}}, "spaces"),
    ],
)
def test_what_a_preset_does_not_have_is_refused_by_name(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        shared_preset("smoke", {}, PLAIN, **values)


@pytest.mark.parametrize("preset", EVERY, ids=lambda preset: preset.name)
def test_every_preset_says_what_it_is_and_reads_back_the_same(preset: Preset) -> None:
    assert preset.summary
    assert Preset.model_validate_json(preset.model_dump_json()).search == preset.search
    # Losses that compare versions of a background get some, in the search and in the training.
    for terms, versions in ((preset.search.loss, preset.search.versions), (preset.train.loss, preset.train_versions)):
        assert versions == any(term.name == "internal" for term in terms)
