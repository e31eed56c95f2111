import math
from collections import Counter

import numpy as np
import torch

from models import CostTerm, OpKey
from models.hinas.config import HiNASConfig
from models.hinas.costs import REFERENCE, ProjectionUnit, carriers, cost_terms, projections

PROJECTION = "pointwise_bn"


def test_terms_of_a_small_space_by_hand() -> None:
    config = HiNASConfig(
        layers=2,
        nodes=1,
        channels=4,
        factors=(1, 2),
        stem_channels=6,
        decoder=(4, 5),
        operations=("act_conv3x3", "skip"),
    )

    def row(entering: int, leaving: int, name: str = PROJECTION) -> OpKey:
        return OpKey(name, entering, leaving, 1)

    same, wider = ("route0", ("same",)), ("route0", ("wider",))
    expected: list[tuple[OpKey, tuple[object, ...]]] = []
    for first, width in ((same, 4), (wider, 8)):
        expected += [(row(6, width), (first,)), (row(4, width), (first,))]
        for edge in ("layer1.node0.from0", "layer1.node0.from1"):
            expected.append((row(width, width, "act_conv3x3"), (first, (edge, ("act_conv3x3",)))))
    for first, second, middle, width in (
        (same, ("route1.0", ("same",)), 4, 4),
        (same, ("route1.0", ("wider",)), 4, 8),
        (wider, ("route1.1", ("narrower",)), 8, 4),
        (wider, ("route1.1", ("same",)), 8, 8),
    ):
        here = (first, second)
        # From the stem's output two layers back, from the layer before; to the decoder.
        expected += [(row(4, width), here), (row(middle, width), here), (row(width, 5), here)]
        for edge in ("layer2.node0.from0", "layer2.node0.from1"):
            expected.append((row(width, width, "act_conv3x3"), (*here, (edge, ("act_conv3x3",)))))
    assert Counter((term.key, term.when) for term in cost_terms(config)) == Counter(expected)


def expectation(config: HiNASConfig, terms: tuple[CostTerm, ...], counted: str) -> float:
    """Expected number of rows of this kind where every candidate of a choice is equally likely."""

    def likelihood(choice: str) -> float:
        if not choice.startswith("route"):
            return 1 / len(config.candidates)
        level = int(choice.partition(".")[2] or 0)
        return 1 / len(config.moves(level))

    return sum(
        term.share * math.prod(likelihood(choice) for choice, _ in term.when)
        for term in terms
        if term.key.operation.startswith(counted)
    )


def test_expectations_count_two_edges_per_node_and_each_projection_once() -> None:
    for tied in (False, True):
        config = HiNASConfig(tied=tied)
        terms = cost_terms(config)
        # Two of a node's edges are left, and five of seven candidates cost something.
        assert math.isclose(expectation(config, terms, "act_"), 3 * 4 * 2 * 5 / 7)
        # Two inputs per layer and the way to the decoder: the ways to a level exclude each other.
        assert math.isclose(expectation(config, terms, PROJECTION), 3 * 2 + 1)
        assert {term.share for term in terms if term.key.operation == PROJECTION} == {1.0}
        assert {term.share for term in terms if term.key.operation != PROJECTION} == {2 / 2, 2 / 3, 2 / 4, 2 / 5}


def test_projections_do_not_depend_on_what_lies_further_back() -> None:
    config = HiNASConfig()
    for path in config.paths(3):
        assert projections(config, 3, path) == projections(config, 3, path[-3:])
    assert projections(config, 1, (0, 1)) == (OpKey(PROJECTION, 64, 30, 1), OpKey(PROJECTION, 80, 30, 1))
    assert projections(config, 3, (0, 1, 2, 1)) == (
        OpKey(PROJECTION, 120, 30, 1),
        OpKey(PROJECTION, 160, 30, 1),
        OpKey(PROJECTION, 120, 128, 1),
    )


def test_with_one_width_projections_are_in_every_network_and_have_no_term() -> None:
    config = HiNASConfig(factors=(1,))
    assert {term.key.operation for term in cost_terms(config)} == {
        "act_conv3x3",
        "act_separable3x3",
        "act_separable5x5",
        "act_dilated3x3",
        "act_dilated5x5",
    }
    assert all(term.when for term in cost_terms(config))


def unknowns_and_rank(config: HiNASConfig, *, short: bool = True) -> tuple[int, int]:
    """Of the system that prices a space: a fixed cost per width, a row per key; the first unit of a width alone too."""
    found = carriers(config)
    keys = sorted({key for carrier in found for key in carrier.keys})
    widths = sorted({carrier.channels for carrier in found})
    rows = []
    timed: set[int] = set()
    for carrier in found:
        for length in (1, 4) if short and carrier.channels not in timed else (4,):
            row = np.zeros(len(widths) + len(keys))
            row[widths.index(carrier.channels)] = 1
            for key in carrier.keys:
                row[len(widths) + keys.index(key)] += length
            rows.append(row)
        timed.add(carrier.channels)
    return len(widths) + len(keys), int(np.linalg.matrix_rank(np.array(rows)))


def test_carriers_determine_every_row() -> None:
    for config in (HiNASConfig(), HiNASConfig(layers=2, nodes=3, channels=16), HiNASConfig(operations=("skip",))):
        unknowns, rank = unknowns_and_rank(config)
        assert rank == unknowns
        # Without the units that are timed alone the fixed costs could not be told from the rows.
        assert unknowns_and_rank(config, short=False)[1] < unknowns


def test_there_is_one_carrier_per_row_and_reference_nodes_come_first() -> None:
    config = HiNASConfig()
    found = carriers(config)
    assert {key for carrier in found for key in carrier.keys} == {term.key for term in cost_terms(config)}
    assert len(found) == len({carrier.keys for carrier in found}) == len({term.key for term in cost_terms(config)})
    for width in (20, 30, 40):
        first = next(carrier for carrier in found if carrier.channels == width)
        assert [key.operation for key in first.keys] == [REFERENCE, REFERENCE]
    other = carriers(HiNASConfig(operations=("skip", "act_separable3x3")))[0]
    assert [key.operation for key in other.keys] == ["act_separable3x3"] * 2


def test_a_projection_unit_repeats_its_output_up_to_its_input() -> None:
    x = torch.rand(1, 10, 3, 3)
    for leaving in (4, 5, 10, 16):
        unit = ProjectionUnit(OpKey(PROJECTION, 10, leaving, 1)).eval()
        y = unit.layer(x)
        assert torch.equal(unit(x), torch.cat([y] * 3, 1)[:, :10])
