from typing import Any

import pytest
from pydantic import ValidationError

from search.settings import SearchConfig
from training import TrainingError

LENGTHS: dict[str, Any] = {"steps": 4, "warmup": 2, "batch": 2, "patch": 16}


def settings(**values: Any) -> SearchConfig:
    return SearchConfig.model_validate({**LENGTHS, **values})


@pytest.mark.parametrize(
    "wrong",
    [
        {"raw_lr": 0.1},
        {"steps": 0},
        {"warmup": -1},
        {"patch": 4},
        {"split": 1.0},
        {"explore": 1.5},
        {"sandwich": -1},
        {"entropy": -0.1},
        {"order": -1e-5},
        {"order_form": "sorted"},
        {"price_rate": 0.0},
        {"checkpoint_every": 0},
        {"clip_norm": 0.0},
        {"choices": {"optimizer": "lion"}},
        {"schedule": {"schedule": "linear"}},
    ],
)
def test_unknown_settings_and_values_out_of_range_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        settings(**wrong)


def test_a_loss_is_a_name_or_a_list_of_terms() -> None:
    assert settings(loss="mse").loss == settings(loss=[{"name": "mse"}]).loss
    with pytest.raises((ValidationError, TrainingError), match=r"unknown loss 'l3'; known: .*charbonnier"):
        settings(loss="l3")


def test_versions_are_needed_to_compare_versions() -> None:
    terms = [{"name": "mse"}, {"name": "internal"}]
    with pytest.raises(ValidationError, match="'internal' compares versions of a background; set versions=True"):
        settings(loss=terms)
    assert settings(loss=terms, versions=True).versions


def test_written_out_and_read_back_they_are_the_same() -> None:
    config = settings(
        sandwich=2, order=0.1, weights={"optimizer": "sgd", "lr": 0.1, "momentum": 0.5}, clip_norm=None, seed=4
    )
    assert SearchConfig.model_validate_json(config.model_dump_json()) == config


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings().steps = 9  # type: ignore[misc]
