"""What the parts of a space cost, said without numbers: rows of a table, and under which picks they are paid."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

Condition = tuple[str, tuple[str, ...]]
"""(choice, candidates): holds when the choice picks any of the candidates."""


@dataclass(frozen=True, order=True)
class OpKey:
    """One row of a latency table: an operation at a shape.

    Attributes:
        operation: Registry name.
        in_channels: Channels in; of the finest scale, for a module.
        out_channels: Channels out; likewise.
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
    """`key` is paid when every condition of `when` holds; its expectation is the product of their weights.

    Attributes:
        key: The row.
        when: Conditions on different choices; none: always paid.
        share: Factor of the expectation alone, where only some of several parts will survive derivation.
    """

    key: OpKey
    when: tuple[Condition, ...]
    share: float = 1.0

    def holds(self, picks: Mapping[str, str]) -> bool:
        """Is it paid under these picks? A choice without a pick is in a part that is not there."""
        return all(picks.get(choice) in candidates for choice, candidates in self.when)


def when(choice_id: str, picked: str | tuple[str, ...], count: int) -> tuple[Condition, ...]:
    """A condition, or none where a choice has a single candidate (`count` of them) and so is no choice."""
    return ((choice_id, (picked,) if isinstance(picked, str) else picked),) if count > 1 else ()


@dataclass(frozen=True)
class Carrier:
    """A small repeatable unit that prices operations in the context in which the space uses them.

    Chained `k` times between a stem and a tail it costs `fixed + k * sum(ms of keys)`, so fusion, layout reorders and
    fixed costs are neither counted twice nor lost.

    Attributes:
        keys: The rows that one unit pays for, each as often as it is paid.
        channels: Channels in and out of the unit; of the finest scale, if there are several.
        divisor: The unit runs at (H / divisor, W / divisor).
        make: Builds one unit: (N, channels, h, w) -> same shape, or a list of scales -> such a list.
        branches: Number of scales; each further one has twice the channels at half the size. 1 means a plain tensor.
    """

    keys: tuple[OpKey, ...]
    channels: int
    divisor: int
    make: Callable[[], nn.Module]
    branches: int = 1

    @property
    def id(self) -> str:
        """Readable and unique within a space."""
        return " + ".join(str(key) for key in self.keys)
