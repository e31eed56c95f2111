"""What a search space is: one network definition, and what its parts cost where."""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from models.choice import Choice
from models.cost import Carrier, CostTerm
from models.diagram import Diagram
from models.errors import GenotypeError
from models.genotype import Genotype, Pick
from models.network import Network
from models.site import DerivedSite, Site, SupernetSite
from models.supernet import Supernet
from models.trellis import Arc, knapsack_trellis


class SpaceConfig(BaseModel):
    """Base of every space's config: frozen, unknown keys are errors.

    Attributes:
        scale: Output size over input size: 1, 2 or 4.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Literal[1, 2, 4] = 1


ConfigT = TypeVar("ConfigT", bound=SpaceConfig)


class Space(ABC, Generic[ConfigT]):
    """A family of networks with choices in it. Subclasses give the abstract parts; the rest follows.

    Where a derived network leaves parts of the space out (a path of widths, an exit of a tree), the choices in those
    parts have no pick; such a space also overrides `trellis`, `random_picks` and `num_networks`.

    Attributes:
        name: The module that holds the space.
        version: Raised whenever a genotype would build another network than before.
        summary: One line for people.
        config_type: Its config.
        examples: Small configs of every scale, which build and run in milliseconds: what the tests go through.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str]
    examples: ClassVar[tuple[dict[str, Any], ...]]
    config_type: type[ConfigT]

    @abstractmethod
    def network(self, config: ConfigT, site: Site) -> Network:
        """The one definition: asks `site` for every searchable part."""

    @abstractmethod
    def cost_terms(self, config: ConfigT) -> tuple[CostTerm, ...]:
        """Every priced part with the picks under which it is paid."""

    @abstractmethod
    def carriers(self, config: ConfigT) -> tuple[Carrier, ...]:
        """Units that together price every key of `cost_terms`."""

    @abstractmethod
    def reference_picks(self, config: ConfigT) -> dict[str, str]:
        """A middling network of the space: the fixed cost of everything that is no choice is measured on it."""

    @abstractmethod
    def task_config(self, scale: int) -> dict[str, Any]:
        """What a task with this scale fixes in the config."""

    @abstractmethod
    def diagram(self, config: ConfigT, picks: Mapping[str, str]) -> Diagram:
        """A picture of a network, which shows all picks that it has."""

    def trellis(self, config: ConfigT) -> tuple[Arc, ...]:
        """All derived networks as paths of decisions; see `models.trellis`."""
        return knapsack_trellis(self.candidates(config), self.cost_terms(config))

    def paper_picks(self, config: ConfigT, probabilities: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
        """What the paper's own rule picks, without a budget: each choice's most probable candidate.

        Args:
            config: The space's config.
            probabilities: Choice id -> candidate -> probability.
        """
        most = {choice: max(entry, key=lambda name: entry[name]) for choice, entry in probabilities.items()}
        return self.reached(config, most)

    def random_picks(self, config: ConfigT, rng: np.random.Generator) -> dict[str, str]:
        """Picks of a uniformly drawn network."""
        return {choice: names[int(rng.integers(len(names)))] for choice, names in self.candidates(config).items()}

    def exit_order(self, config: ConfigT) -> tuple[tuple[str, ...], ...]:  # noqa: ARG002
        """Where a network may end: candidates of the exit choice along each complete path, first exit first."""
        return ()

    def allows(self, config: ConfigT, picks: Mapping[str, str]) -> bool:  # noqa: ARG002
        """Do these picks, one for each choice, make a network of the space? Not where picks must fit each other."""
        return True

    def num_networks(self, config: ConfigT) -> int:
        """How many networks the space holds."""
        return math.prod(len(names) for names in self.candidates(config).values())

    def parse_config(self, values: Mapping[str, Any]) -> ConfigT:
        """Validate a config.

        Raises:
            GenotypeError: Unknown keys or values out of range.
        """
        try:
            return self.config_type.model_validate(values)
        except ValidationError as error:
            raise GenotypeError(f"config of space {self.name}: {error}") from error

    def supernet(self, config: ConfigT) -> Supernet:
        """The network with every candidate in place."""
        site = SupernetSite()
        network = self.network(config, site)
        return Supernet(network, site.choices)

    @functools.cache  # noqa: B019 - spaces live as long as the program, configs are few
    def choices(self, config: ConfigT) -> Mapping[str, Choice]:
        """Choice id -> choice, in order of construction, on the meta device: names and kinds, not weights."""
        with torch.device("meta"):
            return MappingProxyType(self.supernet(config).choices)

    def candidates(self, config: ConfigT) -> dict[str, tuple[str, ...]]:
        """Choice id -> candidate names, without allocating weights."""
        return {name: choice.candidates for name, choice in self.choices(config).items()}

    def reached(self, config: ConfigT, picks: Mapping[str, str]) -> dict[str, str]:
        """The picks that a derived network asks for: those in parts that it has.

        Raises:
            GenotypeError: One of them is missing or is no candidate.
        """
        site = DerivedSite(picks)
        with torch.device("meta"):
            self.network(config, site)
        return site.used

    def genotype(self, config: ConfigT, picks: Mapping[str, str], probs: Mapping[str, float] | None = None) -> Genotype:
        """Write picks down as a genotype; picks for parts that the network does not have are left out.

        Raises:
            GenotypeError: A pick is missing, is no candidate, or names no choice of the space.
        """
        choices = self.choices(config)
        unknown = sorted(set(picks) - set(choices))
        if unknown:
            raise GenotypeError(f"space {self.name} has no choice called {', '.join(unknown)}")
        chosen = []
        for name, picked in self.reached(config, picks).items():
            choice = choices[name]
            prob = 1.0 if probs is None else probs[name]
            index = choice.candidates.index(picked)
            chosen.append(Pick(id=name, kind=choice.kind, picked=picked, index=index, prob=prob))
        return Genotype(
            space=self.name, version=self.version, config=config.model_dump(mode="json"), choices=tuple(chosen)
        )

    def build(self, genotype: Genotype) -> Network:
        """The derived network: picked parts only, fresh weights.

        Raises:
            GenotypeError: The genotype is of another space or version, or its picks do not fit.
        """
        if (genotype.space, genotype.version) != (self.name, self.version):
            raise GenotypeError(
                f"genotype of {genotype.space} v{genotype.version} given to space {self.name} v{self.version}"
            )
        site = DerivedSite(genotype.picks)
        network = self.network(self.parse_config(genotype.config), site)
        site.finish()
        return network
