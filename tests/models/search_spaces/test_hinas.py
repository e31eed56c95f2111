from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from models import num_parameters
from models.hinas.config import HiNASConfig
from models.search_spaces.hinas import HiNASSpace

SPACE = HiNASSpace()
OPERATIONS = (
    "act_conv3x3",
    "act_separable3x3",
    "act_separable5x5",
    "act_dilated3x3",
    "act_dilated5x5",
    "skip",
    "none",
)


def relaxation(config: HiNASConfig) -> tuple[Counter[int], dict[str, tuple[str, ...]]]:
    """How many choices of operations have how many candidates; and the routes."""
    found = SPACE.candidates(config)
    edges = [names for choice, names in found.items() if not choice.startswith("route")]
    assert all(names == OPERATIONS for names in edges)
    return Counter(map(len, edges)), {choice: names for choice, names in found.items() if choice.startswith("route")}


@pytest.mark.parametrize(
    ("scale", "tied", "edges", "routes"),
    [(1, False, 3 * 14, 6), (2, False, 2 * 9, 3), (4, False, 2 * 9, 3), (1, True, 14, 6), (2, True, 9, 3)],
)
def test_the_papers_numbers_of_choices(scale: int, tied: bool, edges: int, routes: int) -> None:
    """Denoise: alpha 3 x 14 x 7 and six routes; SR: 2 x 9 x 7 and three. One alpha for all layers if tied."""
    config = SPACE.parse_config({**SPACE.task_config(scale), "tied": tied})
    alpha, beta = relaxation(config)
    assert alpha == {7: edges}
    assert len(beta) == routes


def test_routes_offer_what_is_possible() -> None:
    _, beta = relaxation(SPACE.parse_config({}))
    assert beta == {
        "route0": ("same", "wider"),
        "route1.0": ("same", "wider"),
        "route1.1": ("narrower", "same", "wider"),
        "route2.0": ("same", "wider"),
        "route2.1": ("narrower", "same", "wider"),
        "route2.2": ("narrower", "same"),
    }
    kinds = {name: choice.kind for name, choice in SPACE.choices(SPACE.parse_config({})).items()}
    assert {kinds[name] for name in beta} == {"route"}
    assert kinds["layer1.node0.from1"] == "operation"


@pytest.mark.parametrize(
    ("scale", "values"),
    [(1, {"layers": 3, "nodes": 4, "channels": 20}), (2, {"layers": 2, "nodes": 3, "channels": 16})],
)
def test_task_configs_are_the_papers_sizes(scale: int, values: dict[str, Any]) -> None:
    config = SPACE.parse_config(SPACE.task_config(scale))
    assert config.model_dump(include=set(values)) == values
    assert SPACE.parse_config({}) == SPACE.parse_config(SPACE.task_config(1))


def test_a_genotype_found_at_the_search_width_is_built_at_the_final_one() -> None:
    narrow, wide = (SPACE.parse_config({"channels": channels}) for channels in (10, 20))
    picks = SPACE.random_picks(narrow, np.random.default_rng(0))
    with torch.device("meta"):
        sizes = [num_parameters(SPACE.build(SPACE.genotype(config, picks))) for config in (narrow, wide)]
    assert sizes[0] < sizes[1]


def test_random_networks_are_uniform() -> None:
    config = SPACE.parse_config({"layers": 2, "nodes": 1, "factors": (1, 2), "operations": ("act_conv3x3", "skip")})
    rng = np.random.default_rng(0)
    draws = 40 * SPACE.num_networks(config)
    found = Counter(tuple(sorted(SPACE.random_picks(config, rng).items())) for _ in range(draws))
    assert len(found) == SPACE.num_networks(config) == 4 * 4 * 4
    surprise = sum((count - 40) ** 2 / 40 for count in found.values())
    assert surprise < 110  # chi-squared with 63 degrees of freedom exceeds this once in ten thousand


def test_paths_of_widths_are_drawn_as_often_as_each_other() -> None:
    """Uniform moves would draw (0, 0) with 1/4 and (1, 2) with 1/6; every path has 1/5."""
    config = SPACE.parse_config({"layers": 2, "nodes": 1, "operations": ("skip",)})
    rng = np.random.default_rng(0)
    draws = [SPACE.random_picks(config, rng) for _ in range(2000)]
    for path in config.paths(2):
        picks = dict(config.route_picks(path)).items()
        assert 0.16 < sum(picks <= draw.items() for draw in draws) / len(draws) < 0.24


def test_random_picks_are_networks_and_name_nothing_else() -> None:
    for values in SPACE.examples:
        config = SPACE.parse_config(values)
        for seed in range(5):
            picks = SPACE.random_picks(config, np.random.default_rng(seed))
            assert SPACE.allows(config, picks)
            assert SPACE.reached(config, picks) == picks


def test_the_reference_network_is_of_middle_width() -> None:
    config = SPACE.parse_config({})
    picks = SPACE.reference_picks(config)
    assert [picks[route] for route in ("route0", "route1.1", "route2.1")] == ["wider", "same", "same"]
    assert SPACE.allows(config, picks)
    assert SPACE.reached(config, picks) == picks
