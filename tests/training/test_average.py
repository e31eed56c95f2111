import copy

import pytest
import torch
from torch import nn

from training.average import update_average


class Normalised(nn.Module):
    """Convolution, batch normalisation, convolution; what is normalised is far from mean 0 and variance 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.last(torch.relu(self.norm(20 * self.first(x) + 5)))
        return result


def trained(steps: int, decay: float) -> tuple[Normalised, Normalised, list[dict[str, torch.Tensor]]]:
    """The network, its moving average, and the network's state before the first and after every step."""
    torch.manual_seed(0)
    network = Normalised().train()
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    states = [{name: t.clone() for name, t in network.state_dict().items()}]
    for step in range(1, steps + 1):
        x = torch.rand(4, 3, 12, 12)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward((network(x) - x).pow(2).mean())
        optimizer.step()
        update_average(average, network, min(decay, step / (step + 10)))
        states.append({name: t.clone() for name, t in network.state_dict().items()})
    return network, average, states


def test_weights_and_statistics_are_averaged_and_counters_copied() -> None:
    """Recomputed by hand from the state after every step."""
    network, average, states = trained(6, 0.3)
    expected = dict(states[0])
    for number, state in enumerate(states[1:], start=1):
        decay = min(0.3, number / (number + 10))
        for name in expected:
            if name != "norm.num_batches_tracked":
                expected[name] = decay * expected[name] + (1 - decay) * state[name]
    expected["norm.num_batches_tracked"] = torch.tensor(6)
    found = average.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name])
    assert not torch.allclose(found["norm.running_mean"], network.state_dict()["norm.running_mean"])


def test_no_decay_copies_to_the_bit() -> None:
    network, average, _ = trained(3, 0.0)
    copied = average.state_dict()
    assert all(torch.equal(copied[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("value", [3.7, 1e30])
def test_a_constant_buffer_stays_what_it_is(value: float) -> None:
    """Kernels and masks are buffers too, and must not drift."""
    network = nn.Module()
    network.register_buffer("kernel", torch.full((3,), value), persistent=False)
    average = copy.deepcopy(network)
    for _ in range(50):
        update_average(average, network, 0.998)
    assert torch.equal(average.get_buffer("kernel"), network.get_buffer("kernel"))


def test_batch_normalisation_of_the_average_fits_its_weights() -> None:
    """In evaluation it answers nearly as it would by the statistics of the very batch."""
    _, average, _ = trained(60, 0.9)
    x = torch.rand(16, 3, 12, 12)
    with torch.no_grad():
        before = 20 * average.first(x) + 5
        mean, variance = before.mean((0, 2, 3)), before.var((0, 2, 3))
        restored, live = average(x), copy.deepcopy(average).train()(x)
    assert torch.isfinite(restored).all()
    statistics = average.state_dict()
    assert ((statistics["norm.running_mean"] - mean).abs() < 0.5 * variance.sqrt()).all()
    assert ((statistics["norm.running_var"] / variance).log().abs() < 0.3).all()
    error = float((restored - live).pow(2).mean())
    assert error < 0.25 * float(live.var())
    # Planted fault: the statistics of an untrained network, which is what averaging parameters alone would leave.
    stale = copy.deepcopy(average)
    stale.norm.reset_running_stats()
    with torch.no_grad():
        assert float((stale(x) - live).pow(2).mean()) > 20 * error
