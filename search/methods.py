"""Methods: a space, a relaxation and a starting point for the retraining, under the name of the paper they follow."""

from dataclasses import dataclass
from typing import Any, Literal

from search.errors import SearchError
from search.relaxation import Relaxation, relaxations


@dataclass(frozen=True)
class Method:
    """One search system as data.

    Attributes:
        name: What `--method` takes.
        summary: One line for people.
        reference: The paper.
        reconstruction: What of it is our reconstruction; empty if nothing is.
        space: Name of its space.
        relaxation_name: Name of its relaxation.
        tasks: Tasks that it can search for.
        initial_weights: The derived network starts from the supernet's weights or from scratch.
        space_config: What it fixes in the space's config; task and preset add the rest.
    """

    name: str
    summary: str
    reference: str
    reconstruction: str
    space: str
    relaxation_name: str
    tasks: tuple[str, ...]
    initial_weights: Literal["inherited", "scratch"]
    space_config: tuple[tuple[str, Any], ...] = ()

    @property
    def relaxation(self) -> Relaxation:
        """The relaxation object."""
        return relaxations()[self.relaxation_name]


_EVERY_TASK = ("derain", "denoise", "super-resolution")

METHODS: tuple[Method, ...] = (
    Method(
        name="autoderain",
        summary="one-path proximal search of convolutions, widths and squeeze-excitation in a U-shape",
        reference=(
            "Fu, Hou, Chen: AutoDerain: Memory-efficient Neural Architecture Search for Image Deraining, VCIP 2021"
        ),
        reconstruction="macro layout, candidate list, losses and schedule; the width choice is ours",
        space="unet",
        relaxation_name="proximal",
        tasks=_EVERY_TASK,
        initial_weights="inherited",
    ),
    Method(
        name="darts",
        summary="softmax over all candidates on the same space: the plain baseline of differentiable search",
        reference="Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, ICLR 2019 (first-order)",
        reconstruction="the space is AutoDerain's, not the paper's cell",
        space="unet",
        relaxation_name="softmax",
        tasks=_EVERY_TASK,
        initial_weights="inherited",
    ),
)


def get_method(name: str) -> Method:
    """A method by name.

    Raises:
        SearchError: There is none of this name.
    """
    for method in METHODS:
        if method.name == name:
            return method
    raise SearchError(f"unknown method {name!r}; known: {', '.join(method.name for method in METHODS)}")
