"""The parts of the claim scripts that a verdict hangs on, at the smallest sizes."""

import numpy as np
import pytest
import torch

from benchmarks.claims.clearer_entropy import balance
from benchmarks.claims.hinas_sharing import incoming, need
from benchmarks.claims.manas_multi_to_one import across_rains
from benchmarks.claims.mdarts_memory import STEPS, decide, derived, measure, slope, supernet
from benchmarks.claims.trilevel_gap import one_hot, runs
from models.search_spaces.hinas import SPACE as HINAS
from search.regularisers import mean_entropy

SMALL = {"depth": 5, "channels": 4, "batch": 1, "patch": 16}
SMALL_HINAS = {
    "layers": 3,
    "nodes": 1,
    "channels": 2,
    "stem_channels": 4,
    "decoder": (2, 2),
    "operations": ("act_conv3x3", "skip"),
}


def test_the_four_kinds_of_step_need_what_theory_says() -> None:
    ratio = {(step, k): float(measure(step, k, **SMALL)["R activations"]) for step in STEPS for k in (2, 5)}
    for step in ("softmax", "literal NASP"):
        assert ratio[step, 5] > ratio[step, 2] + 1, "every candidate is kept"
    assert ratio["two-path", 5] == pytest.approx(ratio["two-path", 2], abs=0.7), "two are kept, of however many"
    assert ratio["recompute in backward", 5] < ratio["two-path", 5], "one is kept"


@pytest.mark.parametrize("step", ["literal NASP", "recompute in backward"])
def test_one_path_steps_compute_the_derived_chain(step: str) -> None:
    network, choices = supernet(3, 2, 4)
    for choice, pick in zip(choices, (2, 1), strict=True):
        choice.raw.data[pick] = 1.0
    chain = derived([2, 1], 3, 4)
    picked = {f"layers.{place}.": f"layers.{place}.candidates.{choice.candidates[pick]}."
              for place, (choice, pick) in enumerate(zip(choices, (2, 1), strict=True))}  # fmt: skip
    state = network.state_dict()
    chain.load_state_dict({name: state[_renamed(name, picked)] for name in chain.state_dict()})
    x = torch.rand(1, 3, 8, 8)
    decide("literal NASP" if step == "literal NASP" else "recompute in backward", choices, "architecture")
    assert torch.allclose(network(x), chain(x), atol=1e-6)


def _renamed(name: str, picked: dict[str, str]) -> str:
    for short, long in picked.items():
        if name.startswith(short):
            return long + name.removeprefix(short)
    return name


def test_both_one_path_steps_find_the_same_gradient() -> None:
    """They differ in memory only: recomputing is exact."""
    torch.manual_seed(0)
    network, choices = supernet(3, 2, 4)
    x = torch.rand(1, 3, 8, 8)
    found = []
    for step in ("literal NASP", "recompute in backward"):
        decide("literal NASP" if step == "literal NASP" else "recompute in backward", choices, "architecture")
        for choice in choices:
            choice.raw.grad = None
        network(x).square().sum().backward()
        # The proximal relaxation removes the mean; the literal step does not.
        found.append([c.raw.grad - c.raw.grad.mean() for c in choices if c.raw.grad is not None])
    assert len(found[0]) == 2
    for literal, recomputed in zip(*found, strict=True):
        assert torch.allclose(literal, recomputed, rtol=1e-4, atol=1e-5)
        assert float(literal.abs().max()) > 0


def test_slope() -> None:
    assert slope([2.0, 4.0, 8.0], [3.0, 5.0, 9.0]) == pytest.approx(1.0)


def test_the_middle_level_has_three_routes_from_the_third_layer_on() -> None:
    routes = incoming(SMALL_HINAS)
    assert routes[3, 1] == 3
    assert [routes[1, level] for level in (0, 1)] == [1, 1]
    assert max(routes.values()) == 3
    # The planted fault: with sharing there is one cell, whatever leads there.
    assert len(HINAS.supernet(HINAS.parse_config(SMALL_HINAS)).network.get_submodule("layers.2.cells")) == 3  # type: ignore[arg-type]


def test_cells_that_are_shared_keep_less() -> None:
    shared, apart = (need("weights", SMALL_HINAS, shared=s, batch=1, patch=16) for s in (True, False))
    assert shared.peak < apart.peak
    assert shared.kept[3, 1] < apart.kept[3, 1] / 2
    assert shared.kept[1, 0] == apart.kept[1, 0]


def test_variance_across_rains() -> None:
    same = np.full((3, 3, 4, 4), 0.5, dtype=np.float32)
    assert across_rains(same) == 0.0
    apart = np.stack([np.full((3, 4, 4), level / 255, dtype=np.float32) for level in (0, 3, 6)])
    assert across_rains(apart) == pytest.approx(6.0)


def test_one_hot_means_exactly() -> None:
    assert one_hot(torch.tensor([0.0, 1.0, 0.0]))
    assert not one_hot(torch.tensor([1e-8, 1.0, 0.0]))
    assert not one_hot(torch.tensor([0.5, 0.5]))


def test_every_run_of_trilevel_is_run_once() -> None:
    assert len(runs()) == len(set(runs())) == 18


@pytest.mark.parametrize(("entropy", "decay"), [(0.1, 1e-3), (0.05, 2e-4), (0.01, 1e-3)])
def test_the_balance_of_entropy_and_decay(entropy: float, decay: float) -> None:
    """Against autograd: at the balance the two gradients cancel; where there is none, the decay is the larger one."""
    p = balance(entropy, decay, modules := 4)
    difference = max(np.log(p / (1 - p)), 0.1)
    raw = torch.tensor([difference / 2, -difference / 2], dtype=torch.float64, requires_grad=True)
    weights = {f"c{place}": torch.softmax(raw if place == 0 else raw.detach(), 0) for place in range(modules)}
    (entropy * mean_entropy(weights, dict.fromkeys(weights, "module"))).backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    push, pull = -float(raw.grad[0]), decay * difference / 2
    if p > 0.5:
        assert push == pytest.approx(pull, rel=1e-6)
    else:
        assert pull > push > 0
