from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from export import export_onnx
from models import Network, Selection, num_parameters, receptive_radius, restore_whole
from models.search_spaces.clearer import ClearerSpace
from runtime import Target, open_engine
from tasks import imresize

SPACE = ClearerSpace()
GREY = 384
"""Parameters that three colours add to the published one: 2 x (32 + 128) in the first bottleneck, 2 x 32 at the end."""
SMALL = {"channels": 4, "stages": (2, 3), "modules": 1, "bottlenecks": 1}


def published(kind: str) -> dict[str, str]:
    names = SPACE.candidates(SPACE.parse_config({})).items()
    return {choice: next(name for name in candidates if name.startswith(kind)) for choice, candidates in names}


def parameters(picks: Mapping[str, str]) -> int:
    config = SPACE.parse_config({})
    with torch.device("meta"):
        return num_parameters(SPACE.build(SPACE.genotype(config, picks)))


def build(**values: Any) -> Network:
    config = SPACE.parse_config({**SMALL, **values})
    torch.manual_seed(0)
    return SPACE.build(SPACE.genotype(config, SPACE.reference_picks(config))).eval()


def last_layer(network: Network) -> nn.Conv2d:
    tail = network.get_submodule("tail")
    assert isinstance(tail, nn.Conv2d)
    return tail


def enlarge_weights(module: nn.Module) -> None:
    """Untrained weights are so small that they would hide every difference."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)


def test_twelve_choices_of_two_make_4096_networks() -> None:
    config = SPACE.parse_config({})
    choices = SPACE.choices(config)
    assert [choice.kind for choice in choices.values()] == ["module"] * 12
    assert [len(choice.candidates) for choice in choices.values()] == [2] * 12
    assert SPACE.num_networks(config) == 4096


def test_parameters_of_the_published_sizes() -> None:
    """12.56 M in the supernet, 4.36 M to 8.72 M in derived networks."""
    with torch.device("meta"):
        supernet = SPACE.supernet(SPACE.parse_config({}))
    assert sum(p.numel() for p in supernet.weight_parameters().values()) - GREY == 12_558_144
    assert parameters(published("fusion")) - GREY == 4_361_536
    assert parameters(published("parallel")) - GREY == 8_723_264


def test_an_image_is_predicted_not_a_difference() -> None:
    image = np.random.default_rng(0).random((3, 13, 18), dtype=np.float32)
    for residual, expected in ((False, np.zeros_like(image)), (True, image)):
        network = build(residual=residual)
        nn.init.zeros_(last_layer(network).weight)
        assert np.array_equal(restore_whole(network, image), expected)


@pytest.mark.parametrize("scale", [2, 4])
def test_enlarging_starts_from_the_bicubic_baseline(scale: int) -> None:
    network = build(scale=scale)
    image = np.random.default_rng(0).random((3, 24, 32), dtype=np.float32)
    expected = np.clip(imresize(image, float(scale)), 0, 1)
    inner = slice(3 * scale, -3 * scale)  # the border rules differ, and nobody scores the border
    nn.init.zeros_(last_layer(network).weight)
    assert np.abs(restore_whole(network, image) - expected)[:, inner, inner].max() < 1e-5
    enlarge_weights(network)
    assert np.abs(restore_whole(network, image) - expected)[:, inner, inner].max() > 1e-3


def test_in_the_supernet_fusion_acts_on_the_input_and_not_on_the_parallel_modules_result() -> None:
    config = SPACE.parse_config(SMALL)
    torch.manual_seed(0)
    supernet = SPACE.supernet(config).eval()
    column = supernet.network.get_submodule("stages.stage2.columns.0")
    parallel, fusion = column.get_submodule("candidates.parallel2"), column.get_submodule("candidates.fusion2")
    enlarge_weights(column)
    supernet.choices["stage2.module0"].decide(Selection(torch.tensor([0.3, 0.7]), (0, 1)))
    scales = [torch.randn(1, 4, 8, 8), torch.randn(1, 8, 4, 4)]
    with torch.no_grad():
        got = column(list(scales))
        kept, fused, released = parallel(scales), fusion(scales), fusion(parallel(scales))
    for n in range(2):
        assert torch.allclose(got[n], 0.3 * kept[n] + 0.7 * fused[n], atol=1e-6)
        assert not torch.allclose(got[n], 0.3 * kept[n] + 0.7 * released[n], atol=1e-2)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_onnx_runtime_computes_the_same(scale: int) -> None:
    network = build(stages=(2, 3, 4), scale=scale)
    enlarge_weights(network)
    engine = open_engine(export_onnx(network, network.multiple, scale), Target("cpu", "onnxruntime", "fp32", 1))
    x = np.random.default_rng(0).random((2, 3, 24, 40), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    spread = expected.std()
    assert np.abs(engine.run(x) - expected).max() < 1e-5 * spread
    assert np.abs(engine.run(x[:, ::-1].copy()) - expected).max() > 1e-2 * spread


def test_receptive_radius_of_parallel_columns_by_hand() -> None:
    config = SPACE.parse_config({**SMALL, "stages": (2,), "modules": 2})
    network = SPACE.build(SPACE.genotype(config, {"stage2.module0": "parallel2", "stage2.module1": "parallel2"}))
    # An odd pixel repeats the coarse pixel that starts one before it; that one sees 4 coarse pixels away, through a
    # stride-2 3x3 and the bottleneck's 3x3: 1 + 4 * 2 + 1 + 1.
    assert receptive_radius(network) == 11
