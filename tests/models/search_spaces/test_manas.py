from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export import export_onnx
from models import GenotypeError, Network, Selection, num_parameters, receptive_radius
from models.operations.basic import Nothing
from models.search_spaces.manas import GATES, AttentionCell, EdgePlan, ManasConfig, ManasSpace, plan_edges
from models.site import DerivedSite, SupernetSite
from runtime import Target, open_engine

SPACE = ManasSpace()
SMALL: dict[str, Any] = {"channels": 8, "stages": (2,), "modules": 1, "bottlenecks": 1}


def derived_cell(*picks: str, channels: int = 8) -> AttentionCell:
    config = ManasConfig(channels=channels)
    torch.manual_seed(0)
    return AttentionCell(
        config, "c", channels, DerivedSite({f"c.edge{n}": name for n, name in enumerate(picks)})
    ).eval()


def built(edge: str) -> Network:
    config = SPACE.parse_config(SMALL)
    picks = {name: edge if ".edge" in name else candidates[0] for name, candidates in SPACE.candidates(config).items()}
    torch.manual_seed(0)
    return SPACE.build(SPACE.genotype(config, picks)).eval()


def test_twelve_modules_and_twenty_seven_edges() -> None:
    config = SPACE.parse_config({})
    sizes = Counter((choice.kind, len(choice.candidates)) for choice in SPACE.choices(config).values())
    assert sizes == {("module", 2): 12, ("operation", 9): 27}
    assert SPACE.num_networks(config) == 2**12 * 9**27


def test_every_cell_has_edges_of_its_own() -> None:
    """The released derived network lets all cells of a stage obey three rows."""
    cells = Counter(name.rsplit(".", 1)[0] for name in SPACE.candidates(SPACE.parse_config({})) if ".edge" in name)
    assert cells == {f"stage{n}.branch{branch}": 3 for n in (2, 3, 4) for branch in range(n)}
    assert len(cells) == 9


def test_edges_run_from_each_group_and_from_all_sums_before() -> None:
    assert list(plan_edges(2)) == [EdgePlan(0, 0, None), EdgePlan(1, 1, None), EdgePlan(2, 1, 0)]
    assert [(edge.into, edge.source) for edge in plan_edges(3)] == [
        (0, None),
        (1, None),
        (1, 0),
        (2, None),
        (2, 0),
        (2, 1),
    ]
    assert len(list(plan_edges(4))) == 10


def test_rows_of_the_published_sizes() -> None:
    config = SPACE.parse_config({})
    terms = SPACE.cost_terms(config)
    rows = {term.key for term in terms}
    gates = {row for row in rows if not row.operation.startswith(("parallel", "fusion"))}
    # Seven gates that cost something, on half of a scale's channels, at four resolutions.
    assert len(gates) == 7 * 4
    assert {(row.in_channels, row.divisor) for row in gates} == {(16, 1), (32, 2), (64, 4), (128, 8)}
    assert len(rows - gates) == 6
    assert len(terms) == 24 + 27 * 7
    assert len(SPACE.carriers(config)) == 6 + 28


def test_parameters_of_the_published_sizes() -> None:
    """CLEARER's trunk and nine cells; `skip` and `none` are free."""

    def fixed(channels: int) -> int:
        half = channels // 2
        squeezes = 2 * half * (half // 4) + 2 * channels * (channels // 16)
        return squeezes + (half * 3 * channels + 2 * channels) + (channels**2 + 2 * channels)

    cells = 3 * fixed(32) + 3 * fixed(64) + 2 * fixed(128) + fixed(256)
    config = SPACE.parse_config({})
    for kind, trunk in (("parallel", 8_723_648), ("fusion", 4_361_920)):
        for edge, gates in (("skip", 0), ("none", 0), ("dilated_gate3x3", None)):
            picks = {
                choice: next((name for name in names if name.startswith(kind)), edge)
                for choice, names in SPACE.candidates(config).items()
            }
            with torch.device("meta"):
                found = num_parameters(SPACE.build(SPACE.genotype(config, picks)))
            if gates is None:
                gates = 3 * sum(times * (9 * c + c * c) for times, c in ((3, 16), (3, 32), (2, 64), (1, 128)))
            assert found == trunk + cells + gates


def by_hand(cell: AttentionCell, x: Tensor, sums: list[Tensor]) -> Tensor:
    """The closing half of a cell, from its sums."""
    first, second = x[:, :4], x[:, 4:]
    whole = cell.squeeze_groups(first + second)
    closed: Tensor = cell.squeeze_all(cell.mix(torch.cat((sums[0], sums[1], whole), 1)) + x)
    return closed


def test_a_cell_is_what_the_paper_says() -> None:
    cell = derived_cell("separable_gate3x3", "cbam4", "squeeze_excitation4")
    torch.manual_seed(1)
    x = torch.randn(2, 8, 6, 7)
    with torch.no_grad():
        u0 = cell.edges[0](x[:, :4])
        u1 = cell.edges[1](x[:, 4:]) + cell.edges[2](u0)
        assert torch.allclose(cell(x), by_hand(cell, x, [u0, u1]), atol=1e-6)
        # Planted: the second sum from the first group, and without the first sum.
        for wrong in (cell.edges[1](x[:, :4]) + cell.edges[2](u0), cell.edges[1](x[:, 4:])):
            assert not torch.allclose(cell(x), by_hand(cell, x, [u0, wrong]), atol=1e-4)


@pytest.mark.parametrize(
    "picks", [("none",) * 3, ("none", "skip", "cbam4"), ("skip", "none", "none"), ("skip", "none", "skip")]
)
def test_an_edge_of_nothing_leaves_the_sum(picks: tuple[str, str, str]) -> None:
    cell = derived_cell(*picks)
    x = torch.randn(2, 8, 6, 7)
    edges = [torch.zeros_like if isinstance(edge, Nothing) else edge for edge in cell.edges]
    with torch.no_grad():
        u0 = edges[0](x[:, :4])
        u1 = edges[1](x[:, 4:]) + edges[2](u0)
        assert torch.allclose(cell(x), by_hand(cell, x, [u0, u1]), atol=1e-6)
        assert not torch.allclose(cell(x), by_hand(cell, x, [u0 + 1, u1]), atol=1e-4)


def test_a_relaxed_edge_mixes_its_candidates() -> None:
    torch.manual_seed(0)
    site = SupernetSite()
    config = ManasConfig(channels=8, attentions=("none", "skip"))
    cell = AttentionCell(config, "c", 8, site).eval()
    shares = (0.25, 0.5, 0.75)
    for choice, share in zip(site.choices.values(), shares, strict=True):
        choice.decide(Selection(torch.tensor([1 - share, share]), (0, 1)))
    x = torch.randn(1, 8, 5, 5)
    u0 = 0.25 * x[:, :4]
    u1 = 0.5 * x[:, 4:] + 0.75 * u0
    with torch.no_grad():
        assert torch.allclose(cell(x), by_hand(cell, x, [u0, u1]), atol=1e-6)


@pytest.mark.parametrize("edge", GATES)
def test_onnx_runtime_computes_the_same_with_every_gate(edge: str) -> None:
    network = built(edge)
    for name, module in network.named_modules():
        # The trunk's untrained weights are so small that they would hide every difference.
        if isinstance(module, nn.Conv2d) and ".attention." not in name:
            nn.init.kaiming_normal_(module.weight)
    engine = open_engine(export_onnx(network, network.multiple), Target("cpu", "onnxruntime", "fp32", 1))
    x = np.random.default_rng(0).random((2, 3, 12, 20), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    assert np.abs(engine.run(x) - expected).max() < 1e-5 * expected.std()
    assert np.abs(engine.run(x[:, ::-1].copy()) - expected).max() > 1e-2 * expected.std()


def test_a_derived_network_holds_no_gate_that_was_not_picked() -> None:
    plain, gated = built("skip"), built("spatial_dilated3x3")
    assert num_parameters(gated) - num_parameters(plain) == 6 * 19
    assert num_parameters(built("none")) == num_parameters(plain)


def test_cells_see_the_whole_image() -> None:
    assert receptive_radius(built("skip")) is None


@pytest.mark.parametrize(
    "values",
    [
        {"attentions": ()},
        {"attentions": ("skip", "transformer")},
        {"attentions": ("skip", "conv3x3")},
        {"attentions": ("skip", "skip")},
        {"groups": 0},
        {"groups": 3},
    ],
)
def test_configs_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(GenotypeError, match=f"config of space manas.*(?s:.*){next(iter(values))}"):
        SPACE.parse_config(values)
