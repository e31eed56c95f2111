"""Bytes counted on chains whose need for memory is known by hand."""

import torch
from torch import Tensor, nn

from benchmarks.claims.memory import LiveBytes, SavedBytes, gradient_bytes, hold_gradients, parameter_bytes, peak_bytes

MAP = 4 * 1000
"""Bytes of one float32 vector of a thousand entries."""


class Exp(nn.Module):
    """Keeps its output, and nothing else, for backward."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


def test_what_dies_is_subtracted_and_what_existed_does_not_count() -> None:
    x = torch.ones(1000)
    with LiveBytes([x]) as counter:
        y = x + 1
        assert counter.live == MAP
        z = y.view(10, 100)
        assert counter.live == MAP, "a view is no memory"
        del y
        assert counter.live == MAP, "the view still holds it"
        del z
        assert counter.live == 0
        x.add_(1)
        assert counter.live == 0
    assert counter.peak == MAP


def test_outputs_kept_for_backward_stay_alive_and_grow_with_depth() -> None:
    def peak(depth: int) -> int:
        x = torch.zeros(1000, requires_grad=True)
        return peak_bytes(lambda: nn.Sequential(*(Exp() for _ in range(depth)))(x).sum(), [x])

    assert peak(9) - peak(4) == 5 * MAP
    # Backward holds the gradient on both sides of the layer that it passes, beside all outputs.
    assert 4 * MAP <= peak(4) <= 7 * MAP


def test_nothing_is_kept_without_a_graph() -> None:
    """The planted fault: if the counter saw no deaths, this would be ten vectors."""
    with torch.no_grad(), LiveBytes() as counter:
        x = torch.zeros(1000)
        for _ in range(10):
            x = x.exp()
    assert counter.peak == 2 * MAP


def test_gradients_that_exist_are_apart() -> None:
    layer = nn.Linear(1000, 1000, bias=False)
    x = torch.ones(1, 1000)

    def step() -> Tensor:
        loss: Tensor = layer(x).sum()
        return loss

    assert gradient_bytes(layer.parameters()) == 0
    hold_gradients(step, layer.parameters())
    assert gradient_bytes(layer.parameters()) == parameter_bytes(layer) == 1000 * MAP
    assert float(layer.weight.grad.abs().sum()) == 0.0  # type: ignore[union-attr]


def test_saved_bytes_go_to_the_layer_that_saves() -> None:
    first, second = nn.Sequential(Exp(), Exp()), Exp()
    x = torch.zeros(1000, requires_grad=True)
    saved = SavedBytes()
    with saved.counting({"first": first, "second": second}, [x]):
        # Outside any labelled module: sin keeps its input, which `second` has kept already.
        second(first(x)).sin().sum().backward()
    assert saved.by_label == {"first": 2 * MAP, "second": MAP}
