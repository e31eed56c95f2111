import io
from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export import export_onnx
from models import Network, Selection, Supernet
from models.hinas.cell import Cell
from models.hinas.config import HiNASConfig
from models.hinas.network import HiNAS
from models.search_spaces.hinas import HiNASSpace
from runtime import Target, open_engine

SPACE = HiNASSpace()
SMALL: dict[str, Any] = {"channels": 4, "nodes": 2, "stem_channels": 6, "decoder": (4, 8)}


def derived(config: HiNASConfig, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return SPACE.build(SPACE.genotype(config, SPACE.random_picks(config, np.random.default_rng(seed)))).eval()


def softened(config: HiNASConfig) -> Supernet:
    torch.manual_seed(0)
    supernet = SPACE.supernet(config).eval()
    for choice in supernet.choices.values():
        count = len(choice.candidates)
        choice.decide(Selection(torch.softmax(torch.randn(count), 0), tuple(range(count))))
    return supernet


def cells(module: nn.Module) -> int:
    return sum(isinstance(part, Cell) for part in module.modules())


@pytest.mark.parametrize(("shared", "count"), [(True, 2 + 3 + 3), (False, 2 + 5 + 7)])
def test_sharing_builds_one_cell_per_level_instead_of_one_per_route(shared: bool, count: int) -> None:
    config = HiNASConfig(**SMALL, shared_cells=shared)
    assert cells(SPACE.supernet(config)) == count
    assert cells(derived(config)) == 3


def kept_for_backward(config: HiNASConfig) -> int:
    """Bytes of activations that a supernet under softmax keeps for its backward pass."""
    supernet = softened(config)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in supernet.parameters()}
    found: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            alive.append(tensor)  # so that no address is used twice
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        supernet(torch.rand(1, 3, 16, 16))
    return sum(found.values())


def test_sharing_cells_keeps_less_for_backward() -> None:
    """The claim, on memory that can be counted: 8 cells instead of 14."""
    shared, unshared = (kept_for_backward(HiNASConfig(**SMALL, shared_cells=shared)) for shared in (True, False))
    assert 0.5 < shared / unshared < 0.75


def test_cells_that_are_linear_give_the_same_shared_or_not() -> None:
    """Summing before a cell or after it is the same for skips, and only for these."""
    for operations, same in ((("skip",), True), (("skip", "act_conv3x3"), False)):
        outputs = []
        for shared in (True, False):
            config = HiNASConfig(**SMALL, operations=operations, shared_cells=shared)
            supernet = softened(config)
            for parameter in supernet.weight_parameters().values():
                with torch.no_grad():
                    generator = torch.Generator().manual_seed(parameter.numel())
                    parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.4)
            outputs.append(supernet(torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(3))).detach())
        close = torch.allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-4 * float(outputs[0].abs().max()))
        assert close is same, operations


def test_levels_off_the_path_do_not_leak() -> None:
    """The released code's routes, which ignore how far a level is reached, would fail here."""
    config = HiNASConfig(**SMALL, operations=("skip", "act_conv3x3"))
    picks = SPACE.random_picks(config, np.random.default_rng(0))
    picks |= dict(config.route_picks((0, 0, 1, 1)))
    torch.manual_seed(0)
    supernet = SPACE.supernet(config).eval()
    supernet.pick(picks)
    x = torch.rand(1, 3, 6, 6)
    before = supernet(x)
    off = {"layers.0.cells.1", "layers.1.cells.0", "layers.1.cells.2", "layers.2.older.1_to_1", "far.0", "far.2"}
    on = {"layers.0.cells.0", "layers.1.cells.1", "layers.2.older.0_to_1", "layers.2.newer.1_to_1", "far.1"}
    for name in (*off, *on):
        part = supernet.network.get_submodule(name)
        kept = {key: tensor.clone() for key, tensor in part.state_dict().items()}
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.add_(0.3)
        assert torch.equal(supernet(x), before) is (name in off), name
        part.load_state_dict(kept)


def operators(network: nn.Module, scale: int = 1) -> Counter[str]:
    model = onnx.load(io.BytesIO(export_onnx(network, scale=scale)))
    return Counter(node.op_type for node in model.graph.node)


def test_an_exported_network_holds_picked_layers_and_nothing_of_the_search() -> None:
    config = HiNASConfig(**SMALL)
    plain = {"Conv", "LeakyRelu", "Add", "Concat", "Sub", "Identity"}
    for seed in range(3):
        found = operators(derived(config, seed))
        assert set(found) <= plain, found
        assert found["Concat"] == 3 + 1
        assert found["Add"] == 3 * 2  # one per node
    supernet = SPACE.supernet(config)
    supernet.pick(SPACE.reference_picks(config))
    assert not set(operators(supernet)) <= plain


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_onnx_runtime_computes_the_same_at_any_size(scale: int) -> None:
    config = HiNASConfig(**SMALL, scale=scale)
    network = derived(config)
    engine = open_engine(export_onnx(network, scale=scale), Target("cpu", "onnxruntime", "fp32", 1))
    rng = np.random.default_rng(0)
    for height, width in ((13, 10), (1, 7), (32, 24)):
        x = rng.random((1, 3, height, width), dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        assert expected.shape == (1, 3, scale * height, scale * width)
        assert np.abs(engine.run(x) - expected).max() < 1e-5


@pytest.mark.parametrize("scale", [1, 2])
def test_the_prediction_is_subtracted_at_scale_one_and_added_when_enlarging(scale: int) -> None:
    network = derived(HiNASConfig(**SMALL, scale=scale))
    assert isinstance(network, HiNAS)
    x = torch.rand(1, 3, 6, 6)
    nn.init.zeros_(network.tail.weight)
    assert network.tail.bias is not None
    nn.init.zeros_(network.tail.bias)
    nothing_predicted = network(x)
    assert (scale > 1) or torch.equal(nothing_predicted, x)
    nn.init.constant_(network.tail.bias, 2.0)
    # Far outside [0, 1]: no sigmoid in the way.
    assert torch.allclose(network(x) - nothing_predicted, torch.tensor(-2.0 if scale == 1 else 2.0))


def test_parameters_of_a_small_network_by_hand() -> None:
    config = HiNASConfig(layers=1, nodes=1, channels=4, stem_channels=6, decoder=(4, 8))
    picks = {"route0": "wider", "layer1.node0.from0": "act_conv3x3", "layer1.node0.from1": "skip"}
    stem = (3 * 6 * 9 + 2 * 6) + (6 * 4 * 9 + 4)
    layer = (6 * 6 + 2 * 6) + (4 * 6 + 2 * 6) + (6 * 6 * 9 + 2 * 6)  # from the stem's features, its output; the edge
    joined = (4 * 4 + 2 * 4) + (6 * 8 + 2 * 8)
    decoder = (12 * 9 + 12 * 8 + 2 * 8) + (8 * 9 + 8 * 8 + 2 * 8) + (8 * 3 * 9 + 3)
    network = SPACE.build(SPACE.genotype(config, picks))
    assert sum(p.numel() for p in network.parameters()) == stem + layer + joined + decoder
