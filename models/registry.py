"""The search spaces, by name: each module of `models.search_spaces` holds one, called `SPACE`."""

import importlib
import pkgutil
from typing import Any

import models.search_spaces
from models.errors import UnknownNameError
from models.genotype import Genotype
from models.network import Network
from models.space import Space


def spaces() -> dict[str, Space[Any]]:
    """Every space, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(models.search_spaces.__path__))
    return {name: importlib.import_module(f"models.search_spaces.{name}").SPACE for name in names}


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
