"""Layers of a supernet that hold every candidate of a choice."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.choice import Choice, Selection


class _ProbeInactive(torch.autograd.Function):
    """Passes `output` through; gives each candidate's weight its exact gradient <dL/dy, op(x)> by recomputation.

    A candidate with weight zero still has a gradient with respect to that weight. Keeping its output for backward
    would cost the memory of the whole supernet, which is the trap of a literal NASP step; here each candidate is run
    without a graph inside backward and thrown away (ProxylessNAS' recompute trick). Peak memory: one path + one
    temporary.
    """

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, x: Tensor, weights: Tensor, candidates: Sequence[Callable[[Tensor], Tensor]]
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.candidates = candidates
        ctx.count = weights.numel()
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, Tensor, None]:
        (grad,) = grad_outputs
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            scores = [torch.sum(candidate(x) * grad) for candidate in ctx.candidates]
        return grad, None, torch.stack(scores), None


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
        mixed = [selection.weights[index] * layers[index](x) for index in selection.active]
        return torch.stack(mixed).sum(0) if len(mixed) > 1 else mixed[0]

    def _one_path(self, x: Tensor, selection: Selection, layers: list[nn.Module]) -> Tensor:
        (index,) = selection.active
        # The active weight is exactly one: the probe alone carries its gradient, so it is not multiplied in.
        output: Tensor = layers[index](x)
        probed: Tensor = _ProbeInactive.apply(output, x.detach(), selection.weights, layers)  # type: ignore[no-untyped-call]
        return probed


class WidthMask(nn.Module):
    """Keeps the leading channels by the weights of a width choice: channel c gets the summed weight of widths > c.

    With a one-hot selection this equals cutting the layer to that width, because every operation maps zero channels
    to zero contributions.
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
        gate = self.choice.selection.weights @ self.masks
        return x * gate.view(1, -1, 1, 1)
