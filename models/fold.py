"""Structural re-parameterisation: what trained as several branches becomes the one layer that is served.

Weights on disk are those of the branches, so that training can go on; folding happens where a network is exported, and
where it is said what the served network costs.
"""

import copy
from typing import Protocol, runtime_checkable

from torch import nn

from models.network import Network


@runtime_checkable
class Foldable(Protocol):
    """A layer that another, simpler one can stand in for once training is over."""

    def folded(self) -> nn.Module:
        """The layer that computes the same, with weights of its own on the same device and of the same type."""
        ...


def has_folds(module: nn.Module) -> bool:
    """Is there anything to fold in it?"""
    return any(isinstance(layer, Foldable) for layer in module.modules())


def fold_network(network: Network) -> Network:
    """A copy in eval mode with every `Foldable` layer folded; everything else, and `network` itself, stays as it is."""
    served = copy.deepcopy(network).eval()
    _fold_children(served, {})
    return served


def fold_module(module: nn.Module) -> nn.Module:
    """`fold_network` for any module, which may itself be what is folded."""
    served = copy.deepcopy(module).eval()
    if isinstance(served, Foldable):
        return served.folded()
    _fold_children(served, {})
    return served


def _fold_children(module: nn.Module, done: dict[nn.Module, nn.Module]) -> None:
    """`done` keeps a layer that stands in several places one layer."""
    for name, child in module._modules.items():
        if child is None:
            continue
        if child not in done:
            done[child] = child
            if isinstance(child, Foldable):
                done[child] = child.folded()
            else:
                _fold_children(child, done)
        module.register_module(name, done[child])
