import math

import numpy as np
import pytest

from models import END, START
from models.hinas.config import HiNASConfig
from models.hinas.decisions import Probabilities, allowed, num_networks, paper_picks, trellis
from models.search_spaces.hinas import HiNASSpace

SPACE = HiNASSpace()


def random_probabilities(config: HiNASConfig, seed: int) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)
    return {
        choice: dict(zip(names, rng.dirichlet(np.ones(len(names))).tolist(), strict=True))
        for choice, names in SPACE.candidates(config).items()
    }


def best_path(config: HiNASConfig, probabilities: Probabilities) -> dict[str, str]:
    """Picks of the path through the trellis with the largest summed log-probability of what it scores."""
    best: dict[str, tuple[float, dict[str, str]]] = {START: (0.0, {})}
    for arc in trellis(config):
        score, picks = best[arc.source]
        score += sum(math.log(probabilities[choice][name]) for choice, name in arc.scores)
        if arc.target not in best or score > best[arc.target][0]:
            best[arc.target] = (score, {**picks, **dict(arc.picks)})
    return best[END][1]


CONFIGS = [
    HiNASConfig(nodes=2),
    HiNASConfig(layers=2, nodes=3, tied=True),
    HiNASConfig(layers=4, nodes=1),
    HiNASConfig(layers=1, nodes=3, factors=(1,)),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_the_papers_rule_is_the_best_path_where_operations_are_picked_by_layer(config: HiNASConfig) -> None:
    differing = 0
    for seed in range(4):
        probabilities = random_probabilities(config, seed)
        picks = paper_picks(config, probabilities)
        assert picks == best_path(config, probabilities)
        assert picks == SPACE.reached(config, picks)
        assert allowed(config, picks)
        greedy = {choice: max(entry, key=entry.__getitem__) for choice, entry in probabilities.items()}
        differing += any(greedy[choice] != name for choice, name in picks.items())
    assert differing >= 3  # the most probable candidates alone make no network


def test_the_papers_rule_by_hand() -> None:
    config = HiNASConfig(layers=2, nodes=2, operations=("act_conv3x3", "skip"))

    def edge(conv: float, skip: float) -> dict[str, float]:
        return {"act_conv3x3": conv, "skip": skip, "none": 1 - conv - skip}

    probabilities = {
        "route0": {"same": 0.4, "wider": 0.6},
        "route1.0": {"same": 0.1, "wider": 0.9},  # 0.36 by way of the less likely level
        "route1.1": {"narrower": 0.4, "same": 0.35, "wider": 0.25},
        "layer1.node0.from0": edge(0.1, 0.05),  # none has 0.85, and node 0 keeps both all the same
        "layer1.node0.from1": edge(0.3, 0.6),
        "layer1.node1.from0": edge(0.2, 0.1),
        "layer1.node1.from1": edge(0.25, 0.3),
        "layer1.node1.from2": edge(0.5, 0.4),
        "layer2.node0.from0": edge(0.5, 0.4),
        "layer2.node0.from1": edge(0.5, 0.4),
        "layer2.node1.from0": edge(0.45, 0.45),  # of equals the first
        "layer2.node1.from1": edge(0.46, 0.0),
        "layer2.node1.from2": edge(0.45, 0.45),
    }
    assert paper_picks(config, probabilities) == {
        "route0": "same",
        "route1.0": "wider",
        "layer1.node0.from0": "act_conv3x3",
        "layer1.node0.from1": "skip",
        "layer1.node1.from0": "none",
        "layer1.node1.from1": "skip",
        "layer1.node1.from2": "act_conv3x3",
        "layer2.node0.from0": "act_conv3x3",
        "layer2.node0.from1": "act_conv3x3",
        "layer2.node1.from0": "act_conv3x3",
        "layer2.node1.from1": "act_conv3x3",
        "layer2.node1.from2": "none",
    }
    assert SPACE.paper_picks(config, probabilities) == paper_picks(config, probabilities)


def test_what_is_dropped_is_picked_but_not_scored() -> None:
    config = HiNASConfig(layers=1, nodes=2)
    for arc in trellis(config):
        routes = [pick for pick in arc.picks if pick[0].startswith("route")]
        if routes:
            assert arc.scores == arc.picks
            continue
        assert len(arc.scores) == 2
        assert set(arc.picks) - set(arc.scores) == {pick for pick in arc.picks if pick[1] == "none"}
        assert len(arc.picks) in (2, 3)


def test_number_of_networks_by_hand() -> None:
    node = 6 * 6
    denoise = (1 * node) * (3 * node) * (6 * node) * (10 * node)
    assert num_networks(HiNASConfig()) == 12 * denoise**3
    assert num_networks(HiNASConfig(tied=True)) == 12 * denoise
    assert num_networks(HiNASConfig(layers=2, nodes=3)) == 5 * (1 * 3 * 6 * node**3) ** 2
    assert num_networks(HiNASConfig(layers=1, nodes=1, factors=(1,))) == node


def test_tied_layers_pay_for_every_layer_at_once() -> None:
    config = HiNASConfig(layers=3, nodes=1, tied=True)
    (arc,) = [
        arc
        for arc in trellis(config)
        if arc.source == "path0-0-1-2"
        and arc.picks == (("node0.from0", "act_conv3x3"), ("node0.from1", "act_separable3x3"))
    ]
    names = ("act_conv3x3", "act_separable3x3")
    assert [(key.operation, key.in_channels) for key in arc.keys] == [(n, w) for w in (20, 30, 40) for n in names]


def test_only_nodes_with_two_predecessors_are_allowed() -> None:
    config = HiNASConfig(layers=2, nodes=2)
    picks = {choice: names[0] for choice, names in SPACE.candidates(config).items()}
    assert not SPACE.allows(config, picks)
    dropped = {"layer1.node1.from0": "none", "layer2.node1.from2": "none"}
    assert SPACE.allows(config, {**picks, **dropped})
    assert not SPACE.allows(config, {**picks, **dropped, "layer1.node1.from1": "none"})
