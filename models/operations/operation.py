"""What a candidate layer is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import nn

OperationKind = Literal["convolution", "attention", "nothing", "module"]


@dataclass(frozen=True)
class Operation:
    """One registry line.

    Attributes:
        name: What genotypes and latency tables call it.
        kind: `convolution` maps in -> out channels; `attention` keeps the channels; `nothing` gives zeros, whatever
            comes in; `module` maps a list of `branches` scales to such a list.
        make: Builds the layer from (in_channels, out_channels). A module gets the channels of its finest scale.
        summary: One line for people.
        free: It costs nothing, so no latency row is measured for it.
        cuttable: A channel that is exactly zero stays without effect, so that masking a width in the supernet equals
            cutting it in the derived network. Layers with normalisation are not.
        branches: Scales that it takes and returns; each further scale has twice the channels at half the size.
    """

    name: str
    kind: OperationKind
    make: Callable[[int, int], nn.Module]
    summary: str
    free: bool = False
    cuttable: bool = True
    branches: int = 1


class SeesEverything:
    """Mixed into layers whose every output depends on the whole input: they have no receptive radius."""


class Squashes:
    """Mixed into layers that bend each value by itself: they do not change who sees what."""


@runtime_checkable
class InnerWidths(Protocol):
    """A layer with hidden channels whose number follows a searched width in or out."""

    def follow(self, entering: nn.Module | None, leaving: nn.Module | None) -> None:
        """Mask hidden channels by these modules, which belong to someone else; None where a width is fixed."""
        ...
