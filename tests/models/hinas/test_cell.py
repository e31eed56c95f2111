import pytest
import torch
from torch import nn

from models import GenotypeError, Selection
from models.hinas.cell import Cell
from models.hinas.config import HiNASConfig
from models.mixed import MixedOperation
from models.site import DerivedSite, SupernetSite

CONFIG = HiNASConfig(nodes=2, channels=4, operations=("act_conv3x3", "skip"))
PICKS = {
    "layer1.node0.from0": "act_conv3x3",
    "layer1.node0.from1": "skip",
    "layer1.node1.from0": "none",
    "layer1.node1.from1": "skip",
    "layer1.node1.from2": "act_conv3x3",
}


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    older, newer = torch.randn(2, 1, 6, 5, 5)
    return older, newer


def test_a_derived_cell_computes_its_nodes_by_hand() -> None:
    site = DerivedSite(PICKS)
    cell = Cell(CONFIG, 1, 1, site).eval()
    site.finish()
    older, newer = inputs()
    node0 = cell.edges["node0_from0"](older) + newer
    node1 = newer + cell.edges["node1_from2"](node0)
    assert torch.equal(cell(older, newer), torch.cat([node0, node1], 1))
    assert cell(older, newer).shape == (1, 2 * 6, 5, 5)


def test_an_edge_that_is_dropped_is_not_built() -> None:
    cell = Cell(CONFIG, 1, 1, DerivedSite(PICKS))
    assert list(cell.edges) == ["node0_from0", "node0_from1", "node1_from1", "node1_from2"]


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({"layer1.node1.from0": "skip"}, 3),
        ({"layer1.node1.from1": "none"}, 1),
        ({"layer1.node1.from1": "none", "layer1.node1.from2": "none"}, 0),
    ],
)
def test_a_derived_node_keeps_two_predecessors(changed: dict[str, str], kept: int) -> None:
    with pytest.raises(GenotypeError, match=rf"exactly 2 predecessors, and layer1\.node1 keeps {kept}"):
        Cell(CONFIG, 1, 1, DerivedSite({**PICKS, **changed}))


def test_a_supernets_cell_holds_every_edge_and_mixes_seven_operations() -> None:
    site = SupernetSite()
    config = HiNASConfig(channels=4)
    cell = Cell(config, 1, 0, site)
    assert len(cell.edges) == len(site.choices) == 14
    assert all(isinstance(edge, MixedOperation) and len(edge.candidates) == 7 for edge in cell.edges.values())


def test_none_takes_its_share_of_a_mixture_and_gives_nothing() -> None:
    site = SupernetSite()
    config = HiNASConfig(nodes=1, channels=4, operations=("skip",))
    cell = Cell(config, 1, 0, site)
    older, newer = torch.randn(2, 1, 4, 5, 5)
    for choice, share in zip(site.choices.values(), (0.25, 0.5), strict=True):
        choice.decide(Selection(torch.tensor([share, 1 - share]), (0, 1)))
    assert torch.allclose(cell(older, newer), 0.25 * older + 0.5 * newer)


def test_cells_of_one_layer_obey_the_same_choices_at_every_level() -> None:
    site = SupernetSite()
    cells = [Cell(CONFIG, layer, level, site) for layer, level in ((1, 0), (1, 2), (2, 0))]
    choices = [[edge.choice for edge in cell.edges.values() if isinstance(edge, MixedOperation)] for cell in cells]
    assert all(a is b for a, b in zip(choices[0], choices[1], strict=True))
    assert all(a is not b for a, b in zip(choices[0], choices[2], strict=True))
    widths = [m.out_channels for cell in cells for m in cell.modules() if isinstance(m, nn.Conv2d)]
    assert widths == [4] * 5 + [8] * 5 + [4] * 5
