"""Claims are written down whole, summarised as they are, and short searches follow from their seed."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.claims import summary
from benchmarks.claims.common import (
    Bench,
    Claim,
    argmax_picks,
    inherited,
    input_db,
    mean_and_spread,
    score,
    short_search,
    table,
    write_claim,
)
from models import get_space
from search.relaxation import Softmax
from search.settings import SearchConfig
from tasks import embedded_photographs, get_task, validation_pairs

CLAIM = Claim("water_is_wet", "Water is wet.", "folklore", "a hand comes out wet")


@pytest.fixture(scope="module")
def bench() -> Bench:
    images = embedded_photographs()
    task = get_task("denoise")
    pairs = tuple(validation_pairs(task, images.valid, 2, 32))
    return Bench(task, images.train, images.train[:2], images.train[2:4], pairs)


def test_a_result_file_says_what_was_run_where(tmp_path: Path) -> None:
    path = write_claim(CLAIM, "holds", "Wet.", [{"hand": 1, "wet": 0.12345}], sizes={"hands": 1}, folder=tmp_path)
    content = json.loads(path.read_text())
    wanted = {"claim", "source", "rule", "verdict", "why", "command", "machine", "versions", "seeds", "sizes", "rows"}
    assert wanted <= set(content)
    assert path.name == "water_is_wet.json"
    assert content["command"] == "python -m benchmarks.claims.water_is_wet"
    assert content["seeds"] == [0, 1, 2]
    assert {"python", "torch"} <= set(content["versions"])
    assert content["rows"] == [{"hand": 1, "wet": 0.12345}]
    assert summary.results(tmp_path) == [content]
    page = summary.page([content])
    for said in ("Water is wet.", "**holds**", "Wet.", "a hand comes out wet", '{"hands": 1}', content["command"]):
        assert said in page


def test_tables_show_small_differences() -> None:
    """Two decimals, as the other benchmarks have, would show this as nothing."""
    assert "1.5e-07" in table([{"difference": 1.5e-7}])


def test_the_readme_agrees_with_the_result_files() -> None:
    wanted = summary.page(summary.results())
    assert summary.README.read_text() == wanted, "run python -m benchmarks.claims.summary"


def test_every_claim_has_its_script() -> None:
    folder = summary.README.parent
    for result in summary.results():
        assert (folder / f"{result['name']}.py").is_file()
        assert result["verdict"] in ("holds", "does not hold", "not testable here")


def test_mean_and_spread() -> None:
    assert mean_and_spread([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_spread([5.0]) == (5.0, 0.0)


def search_settings(seed: int) -> SearchConfig:
    return SearchConfig(steps=2, warmup=1, batch=1, patch=16, seed=seed)


def test_a_short_search_follows_from_its_seed_and_can_be_scored(bench: Bench) -> None:
    space = get_space("clearer")
    config = space.parse_config(
        {"channels": 4, "stages": (2,), "modules": 1, "bottlenecks": 1, "expansion": 1, "residual": True}
    )
    torch.set_num_threads(1)
    found = [short_search(space, config, {"module": Softmax()}, search_settings(seed), bench) for seed in (3, 3, 4)]
    first, again, other = (result.probabilities for _, result in found)
    assert first == again
    assert first != other
    searcher, result = found[0]
    picks = argmax_picks(result)
    # Three steps leave a network that does nothing yet, which any picks do alike.
    for name, parameter in searcher.supernet.network.named_parameters():
        if name.startswith("tail"):
            parameter.data.mul_(1e4)
    searcher.supernet.pick(picks)
    network = inherited(space, config, picks, searcher.supernet)
    assert score(bench, network) == pytest.approx(score(bench, searcher.supernet), abs=1e-4)
    # The planted fault: the other pick of the only column scores otherwise.
    (choice,) = searcher.supernet.choices.values()
    choice.pick(next(name for name in choice.candidates if name not in picks.values()))
    assert score(bench, searcher.supernet) != pytest.approx(score(bench, network), abs=1e-4)


def test_doing_nothing_scores_as_the_task_says(bench: Bench) -> None:
    assert 10 < input_db(bench) < 40
