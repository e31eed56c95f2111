"""What a search space is: one network definition, and what its parts cost where."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from models.choice import Choice
from models.errors import GenotypeError
from models.genotype import Genotype, Pick
from models.mixed import MixedOperation
from models.site import DerivedSite, Site, SupernetSite


class SpaceConfig(BaseModel):
    """Base of every space's config: frozen, unknown keys are errors.

    Attributes:
        scale: Output size over input size: 1, 2 or 4.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Literal[1, 2, 4] = 1


@dataclass(frozen=True, order=True)
class OpKey:
    """One row of a latency table: an operation at a shape.

    Attributes:
        operation: Registry name.
        in_channels: Channels in.
        out_channels: Channels out.
        divisor: The layer runs at (H / divisor, W / divisor) of the network's input.
    """

    operation: str
    in_channels: int
    out_channels: int
    divisor: int

    def __str__(self) -> str:
        return f"{self.operation} {self.in_channels}->{self.out_channels} @1/{self.divisor}"


@dataclass(frozen=True)
class CostTerm:
    """`key` is paid when every (choice, candidate) of `when` is picked; its expectation is the product of weights."""

    key: OpKey
    when: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Carrier:
    """A small repeatable unit that prices operations in the context in which the space uses them.

    Chained `k` times between a stem and a tail it costs `fixed + k * sum(ms of keys)`, so fusion, layout reorders and
    fixed costs are neither counted twice nor lost.

    Attributes:
        keys: The rows that one unit pays for.
        channels: Channels in and out of the unit.
        divisor: The unit runs at (H / divisor, W / divisor).
        make: Builds one unit: (N, channels, h, w) -> same shape.
    """

    keys: tuple[OpKey, ...]
    channels: int
    divisor: int
    make: Callable[[], nn.Module]

    @property
    def id(self) -> str:
        """Readable and unique within a space."""
        return " + ".join(str(key) for key in self.keys)


class Network(nn.Module, ABC):
    """A restoration network: (N, 3, H, W) in [0, 1] -> (N, 3, scale*H, scale*W), not clipped.

    Attributes:
        scale: Output size over input size.
        multiple: H and W must be multiples of this; whoever runs the network pads.
    """

    scale: int
    multiple: int

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Restore a batch."""


class Supernet(nn.Module):
    """A network whose searchable parts hold every candidate.

    Attributes:
        network: Built by the same definition as every derived network.
        choices: Choice id -> choice, in order of construction.
    """

    def __init__(self, network: Network, choices: dict[str, Choice]) -> None:
        super().__init__()
        self.network = network
        self.choices = choices

    def forward(self, x: Tensor) -> Tensor:
        """Run with the current selection of every choice."""
        restored: Tensor = self.network(x)
        return restored

    def pick(self, picks: Mapping[str, str]) -> None:
        """Decide every choice one-hot."""
        for choice_id, choice in self.choices.items():
            choice.pick(picks[choice_id])

    def weight_parameters(self) -> dict[str, nn.Parameter]:
        """Everything trained as network weights: all parameters but the choices' raw vectors."""
        raw = {id(choice.raw) for choice in self.choices.values()}
        return {name: p for name, p in self.network.named_parameters() if id(p) not in raw}


ConfigT = TypeVar("ConfigT", bound=SpaceConfig)


class Space(ABC, Generic[ConfigT]):
    """A family of networks with choices in it. Subclasses give the abstract parts; the rest follows."""

    name: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str]
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

    def candidates(self, config: ConfigT) -> dict[str, tuple[str, ...]]:
        """Choice id -> candidate names, without allocating weights."""
        return {name: choice.candidates for name, choice in self._choices(config).items()}

    def _choices(self, config: ConfigT) -> dict[str, Choice]:
        with torch.device("meta"):
            return self.supernet(config).choices

    def num_networks(self, config: ConfigT) -> int:
        """How many networks the space holds."""
        return math.prod(len(names) for names in self.candidates(config).values())

    def genotype(self, config: ConfigT, picks: Mapping[str, str], probs: Mapping[str, float] | None = None) -> Genotype:
        """Write picks down as a genotype.

        Raises:
            GenotypeError: Picks and choices do not match.
        """
        choices = self._choices(config)
        if set(picks) != set(choices):
            wrong = ", ".join(sorted(set(picks) ^ set(choices)))
            raise GenotypeError(f"space {self.name}: one pick per choice is wanted; missing or unknown: {wrong}")
        chosen = []
        for name, choice in choices.items():
            names = choice.candidates
            if picks[name] not in names:
                raise GenotypeError(f"choice {name}: picked {picks[name]!r}, allowed: {', '.join(names)}")
            prob = 1.0 if probs is None else probs[name]
            chosen.append(
                Pick(id=name, kind=choice.kind, picked=picks[name], index=names.index(picks[name]), prob=prob)
            )
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


def inherit_weights(network: Network, supernet: Supernet, picks: Mapping[str, str]) -> None:
    """Copy the picked candidates' weights into a derived network, leading channels first where it is narrower.

    Every operation keeps its channels in leading order, so cutting the leading slice of each tensor equals masking
    the rest to zero in the supernet.
    """
    source = supernet.network.state_dict()
    renamed: dict[str, Tensor] = {}
    mixed = {path: module for path, module in supernet.network.named_modules() if isinstance(module, MixedOperation)}
    for name, tensor in source.items():
        owner = next((path for path in mixed if name.startswith(f"{path}.")), None)
        if owner is None:
            renamed[name] = tensor
            continue
        prefix = f"{owner}.candidates.{picks[mixed[owner].choice.choice_id]}."
        if name.startswith(prefix):
            renamed[f"{owner}.{name.removeprefix(prefix)}"] = tensor
    wanted = network.state_dict()
    cut = {name: renamed[name][tuple(slice(0, n) for n in tensor.shape)] for name, tensor in wanted.items()}
    network.load_state_dict(cut)
