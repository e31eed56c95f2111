"""Layers of a supernet that hold every candidate of a choice."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from models.choice import Choice, Selection

Weight = Tensor | float
"""A relaxed weight (scalar tensor), or the plain number 1.0 where nothing is left to choose."""


class _ProbeInactive(torch.autograd.Function):
    """Passes `output` through; gives each candidate's weight its exact gradient <dL/dy, op(x)> by recomputation.

    A candidate with weight zero still has a gradient with respect to that weight. Keeping its output for backward
    would cost the memory of the whole supernet, which is the trap of a literal NASP step; here each candidate is run
    without a graph inside backward and thrown away (ProxylessNAS' recompute trick). Peak memory: one path + one
    temporary.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, x: Tensor, weights: Tensor, candidates: Sequence[nn.Module]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.candidates = candidates
        ctx.count = weights.numel()
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, Tensor, None]:
        (grad,) = grad_outputs
        (x,) = ctx.saved_tensors
        with torch.no_grad(), _frozen_statistics(ctx.candidates):
            scores = [torch.sum(candidate(x) * grad) for candidate in ctx.candidates]
        return grad, None, torch.stack(scores), None


@contextmanager
def _frozen_statistics(candidates: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, batch normalisation leaves its running statistics alone: a probe is no training step."""
    norms = [m for candidate in candidates for m in candidate.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class MixedOperation(nn.Module):
    """`y = sum over active o of p_o * op_o(x)`: (N, in, H, W) -> (N, out, H, W)."""

    def __init__(self, choice: Choice, candidates: dict[str, nn.Module]) -> None:
        super().__init__()
        self.choice = choice
        self.candidates = nn.ModuleDict(candidates)

    def forward(self, x: Tensor) -> Tensor:
        """Run the active candidates and mix them by the choice's current selection."""
        selection = self.choice.selection
        layers = list(self.candidates.values())
        if selection.probe:
            return self._one_path(x, selection, layers)
        return weighted_sum((selection.weights[index], layers[index](x)) for index in selection.active)

    def _one_path(self, x: Tensor, selection: Selection, layers: list[nn.Module]) -> Tensor:
        (index,) = selection.active
        # The active weight is exactly one: the probe alone carries its gradient, so it is not multiplied in.
        output: Tensor = layers[index](x)
        probed: Tensor = _ProbeInactive.apply(output, x.detach(), selection.weights, layers)  # type: ignore[no-untyped-call]
        return probed


class MixedModule(nn.Module):
    """Like `MixedOperation` for modules that take and return a list of scales; every scale is mixed alike."""

    def __init__(self, choice: Choice, candidates: dict[str, nn.Module]) -> None:
        super().__init__()
        self.choice = choice
        self.candidates = nn.ModuleDict(candidates)

    def forward(self, scales: Sequence[Tensor]) -> list[Tensor]:
        """Run the active candidates, each on its own copy of the list, and mix them scale by scale."""
        selection = self.choice.selection
        if selection.probe:
            raise ValueError(f"choice {self.choice.choice_id} picks modules; these cannot be probed, relax it softly")
        layers = list(self.candidates.values())
        # A list of its own for each candidate: one that writes into what it was given must not reach the others.
        outputs = [(selection.weights[index], layers[index](list(scales))) for index in selection.active]
        return [weighted_sum((weight, found[n]) for weight, found in outputs) for n in range(len(scales))]


class WidthMask(nn.Module):
    """Keeps the leading channels by the weights of a width choice: channel c gets the summed weight of widths > c.

    With a one-hot selection this equals cutting the layer to that width, because every cuttable operation maps zero
    channels to zero contributions.
    """

    def __init__(self, choice: Choice, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.choice = choice
        channels = torch.arange(max(widths))
        masks = torch.stack([(channels < width).float() for width in widths])
        self.register_buffer("masks", masks, persistent=False)
        self.masks: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Scale channels; (N, C, H, W) with C the largest width."""
        selection = self.choice.selection
        # A one-hot straight-through sample passes its gradient to the sampled width alone; probing wants them all.
        active = list(range(len(self.masks)) if selection.probe else selection.active)
        gate = selection.weights[active] @ self.masks[active]
        return x * gate.view(1, -1, 1, 1)


def weighted_sum(parts: Iterable[tuple[Weight, Tensor]]) -> Tensor:
    """Sum of weight * tensor over at least one part; a weight that is the number 1.0 costs no multiplication."""
    total: Tensor | None = None
    for weight, tensor in parts:
        scaled = tensor if isinstance(weight, float) and weight == 1.0 else weight * tensor
        total = scaled if total is None else total + scaled
    if total is None:
        raise ValueError("nothing to sum: no candidate is active")
    return total
