"""The search spaces, by name."""

from typing import Any

from models.errors import UnknownNameError
from models.genotype import Genotype
from models.space import Network, Space
from models.unet import UNetSpace


def spaces() -> dict[str, Space[Any]]:
    """Every space, by name. A new space is one more entry of this tuple."""
    known: tuple[Space[Any], ...] = (UNetSpace(),)
    return {space.name: space for space in known}


def get_space(name: str) -> Space[Any]:
    """The space with this name.

    Raises:
        UnknownNameError: There is none.
    """
    known = spaces()
    if name not in known:
        raise UnknownNameError("space", name, list(known))
    return known[name]


def build_network(genotype: Genotype) -> Network:
    """The derived network of a genotype, with fresh weights.

    Raises:
        ModelError: The genotype does not fit its space.
    """
    return get_space(genotype.space).build(genotype)
