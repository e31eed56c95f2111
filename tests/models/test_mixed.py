"""The recompute-in-backward probe against literal autograd, in numbers and in memory."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models import Choice, Selection, make_operation
from models.mixed import MixedOperation, WidthMask, _frozen_statistics

NAMES = ("conv3x3", "separable3x3", "conv5x5", "dilated3x3", "separable5x5")


def mixed_layer(count: int = 5, channels: int = 6) -> MixedOperation:
    torch.manual_seed(0)
    choice = Choice("c", "operation", NAMES[:count])
    return MixedOperation(choice, {name: make_operation(name, channels, channels) for name in NAMES[:count]}).double()


def one_hot(raw: Tensor, index: int) -> Tensor:
    """Straight-through: one-hot in value, the identity in gradient."""
    fixed = torch.zeros_like(raw)
    fixed[index] = 1.0
    return fixed + raw - raw.detach()


def loss_of(output: Tensor) -> Tensor:
    torch.manual_seed(7)
    return (output.sin() * torch.rand_like(output)).sum()


def literal_gradients(layer: MixedOperation, x: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """(output, d loss / d raw, d loss / d x of the active path) with every candidate in the graph."""
    raw = torch.zeros(len(layer.candidates), dtype=torch.float64, requires_grad=True)
    weights = one_hot(raw, index)
    outputs = [candidate(x) for candidate in layer.candidates.values()]
    output = torch.stack([weight * out for weight, out in zip(weights, outputs, strict=True)]).sum(0)
    (gradient,) = torch.autograd.grad(loss_of(output), raw)
    (of_x,) = torch.autograd.grad(loss_of(outputs[index]), x)
    return output.detach(), gradient, of_x


@pytest.mark.parametrize("index", range(5))
def test_probe_gives_the_gradient_of_the_literal_sum(index: int) -> None:
    layer = mixed_layer()
    torch.manual_seed(1)
    x = torch.rand(2, 6, 9, 8, dtype=torch.float64, requires_grad=True)
    expected_output, expected, expected_x = literal_gradients(layer, x, index)

    raw = layer.choice.raw
    layer.choice.decide(Selection(one_hot(raw, index), (index,), probe=True))
    output = layer(x)
    torch.autograd.backward(loss_of(output))

    assert torch.allclose(output, expected_output, rtol=0, atol=1e-12)
    assert raw.grad is not None
    assert torch.allclose(raw.grad, expected, rtol=1e-10, atol=1e-10)
    assert x.grad is not None
    assert torch.allclose(x.grad, expected_x, rtol=1e-10, atol=1e-12)
    # The comparison can fail: the gradients of the candidates differ by far more than its tolerance.
    assert (expected - expected.roll(1)).abs().min() > 1e-3


def test_candidates_that_do_not_run_get_no_gradient() -> None:
    layer = mixed_layer()
    layer.choice.decide(Selection(one_hot(layer.choice.raw, 2), (2,), probe=True))
    torch.autograd.backward(loss_of(layer(torch.rand(1, 6, 8, 8, dtype=torch.float64))))
    for name, candidate in layer.candidates.items():
        gradients = [parameter.grad for parameter in candidate.parameters()]
        assert all((gradient is not None) == (name == NAMES[2]) for gradient in gradients), name


def test_probe_goes_through_a_chain_with_a_width() -> None:
    """Two probed layers and a mask between them, against finite differences of the literal sum."""
    torch.manual_seed(0)
    first, second = mixed_layer(), mixed_layer()
    width = Choice("w", "width", ("2", "6"))
    mask = WidthMask(width, (2, 6)).double()
    x = torch.rand(1, 6, 7, 7, dtype=torch.float64)

    def literal(vectors: list[Tensor]) -> Tensor:
        hidden = torch.stack([w * op(x) for w, op in zip(vectors[0], first.candidates.values(), strict=True)]).sum(0)
        hidden = hidden.relu() * (vectors[1] @ mask.masks).view(1, -1, 1, 1)
        return loss_of(
            torch.stack([w * op(hidden) for w, op in zip(vectors[2], second.candidates.values(), strict=True)]).sum(0)
        )

    choices, indices = (first.choice, width, second.choice), (1, 0, 3)
    for choice, index in zip(choices, indices, strict=True):
        choice.raw.data = choice.raw.data.double()
        choice.decide(Selection(one_hot(choice.raw, index), (index,), probe=True))
    torch.autograd.backward(loss_of(second(mask(first(x).relu()))))

    raws = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (5, 2, 5)]
    expected = torch.autograd.grad(literal([one_hot(r, i) for r, i in zip(raws, indices, strict=True)]), raws)
    for choice, gradient in zip(choices, expected, strict=True):
        assert choice.raw.grad is not None
        assert torch.allclose(choice.raw.grad, gradient, rtol=1e-9, atol=1e-9), choice.choice_id


def saved_bytes(run: Callable[[], Tensor]) -> int:
    """Bytes of all distinct tensors that autograd keeps for the backward pass."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class Stack(nn.Module):
    """Four mixed layers one after the other, with weights frozen as the searcher freezes them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(mixed_layer(count, channels=8).float() for _ in range(4))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.endswith("raw"))

    def run(self, probe: bool) -> Tensor:
        torch.manual_seed(3)
        x = torch.rand(1, 8, 32, 32)
        for layer in self.layers:
            assert isinstance(layer, MixedOperation)
            raw = layer.choice.raw
            if probe:
                layer.choice.decide(Selection(one_hot(raw, 0), (0,), probe=True))
            else:
                layer.choice.decide(Selection(torch.softmax(raw, 0), tuple(range(raw.numel()))))
            x = layer(x).relu()
        return x


def test_memory_of_the_probe_does_not_grow_with_the_number_of_candidates() -> None:
    few, many = Stack(2), Stack(5)
    activation = 8 * 32 * 32 * 4
    # Each layer keeps its input, and nothing of any candidate. Weights are there anyway; only theirs may differ.
    assert abs(saved_bytes(lambda: many.run(True)) - saved_bytes(lambda: few.run(True))) < 1000
    # The planted contrast: with softmax every further candidate keeps its output in each of the four layers.
    grown = saved_bytes(lambda: many.run(False)) - saved_bytes(lambda: few.run(False))
    assert grown >= 4 * 3 * activation


def test_weighted_sum_is_what_it_says() -> None:
    layer = mixed_layer(3)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    layer.choice.decide(Selection(weights, (0, 1, 2)))
    x = torch.rand(1, 6, 5, 5, dtype=torch.float64)
    expected = sum(w * op(x) for w, op in zip(weights, layer.candidates.values(), strict=True))
    assert torch.allclose(layer(x), torch.as_tensor(expected), atol=1e-12)


@pytest.mark.parametrize(("picked", "kept"), [("2", 2), ("4", 4), ("6", 6)])
def test_a_picked_width_keeps_the_leading_channels(picked: str, kept: int) -> None:
    choice = Choice("w", "width", ("2", "4", "6"))
    choice.pick(picked)
    x = torch.rand(1, 6, 3, 3) + 0.1
    masked = WidthMask(choice, (2, 4, 6))(x)
    assert torch.equal(masked[:, :kept], x[:, :kept])
    assert masked[:, kept:].abs().sum() == 0


def test_a_relaxed_width_weighs_a_channel_by_the_widths_that_hold_it() -> None:
    choice = Choice("w", "width", ("2", "4"))
    choice.decide(Selection(torch.tensor([0.25, 0.75]), (0, 1)))
    masked = WidthMask(choice, (2, 4))(torch.ones(1, 4, 1, 1)).flatten().tolist()
    assert masked == [1.0, 1.0, 0.75, 0.75]


class TestProbingNormalisedLayers:
    """Candidates with batch normalisation: a probe is no training step."""

    NAMES = ("act_conv3x3", "act_separable3x3", "act_dilated3x3")

    def layer(self) -> MixedOperation:
        torch.manual_seed(0)
        choice = Choice("c", "operation", self.NAMES)
        return MixedOperation(choice, {name: make_operation(name, 4, 4) for name in self.NAMES}).double().train()

    @staticmethod
    def statistics(layer: nn.Module) -> list[Tensor]:
        return [
            m.running_var.clone()
            for m in layer.modules()
            if isinstance(m, nn.BatchNorm2d) and m.running_var is not None
        ]

    def test_running_statistics_are_left_alone_and_their_pace_is_restored(self) -> None:
        layer = self.layer()
        layer.choice.decide(Selection(one_hot(layer.choice.raw, 1), (1,), probe=True))
        before = {name: self.statistics(candidate) for name, candidate in layer.candidates.items()}
        output = layer(torch.rand(2, 4, 6, 6, dtype=torch.float64))
        forward = {name: self.statistics(candidate) for name, candidate in layer.candidates.items()}
        torch.autograd.backward(loss_of(output))
        after = {name: self.statistics(candidate) for name, candidate in layer.candidates.items()}
        for name in self.NAMES:
            # The one that ran has seen its batch, once; probing has shown nobody anything.
            assert all(map(torch.equal, before[name], forward[name])) == (name != self.NAMES[1])
            assert all(map(torch.equal, forward[name], after[name]))
        norms = [module for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]
        assert len(norms) > 3
        assert {norm.momentum for norm in norms} == {nn.BatchNorm2d(1).momentum}

    def test_a_plain_forward_pass_would_move_them(self) -> None:
        """The planted fault of the test above."""
        layer = self.layer()
        resting = layer.candidates[self.NAMES[0]]
        before = self.statistics(resting)
        with torch.no_grad():
            resting(torch.rand(2, 4, 6, 6, dtype=torch.float64))
        assert not any(map(torch.equal, before, self.statistics(resting)))

    def test_a_failing_probe_restores_the_pace_as_well(self) -> None:
        layer = self.layer()
        norm = next(module for module in layer.modules() if isinstance(module, nn.BatchNorm2d))

        def fail() -> None:
            with _frozen_statistics(list(layer.candidates.values())):
                assert norm.momentum == 0.0
                raise RuntimeError("planted")

        with pytest.raises(RuntimeError, match="planted"):
            fail()
        assert norm.momentum == nn.BatchNorm2d(1).momentum

    def test_the_gradient_is_still_that_of_the_literal_sum(self) -> None:
        x = torch.rand(2, 4, 6, 6, dtype=torch.float64, requires_grad=True)
        expected = literal_gradients(self.layer(), x, 1)[1]
        layer = self.layer()
        layer.choice.decide(Selection(one_hot(layer.choice.raw, 1), (1,), probe=True))
        torch.autograd.backward(loss_of(layer(x)))
        assert layer.choice.raw.grad is not None
        assert torch.allclose(layer.choice.raw.grad, expected, rtol=1e-9, atol=1e-9)
