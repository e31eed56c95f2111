"""Where a network definition asks for its searchable parts.

A space writes its network once, against a `Site`. Given a `SupernetSite` every searchable part holds all candidates;
given a `DerivedSite` only the picked one is built. This is what makes one definition serve both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from models.choice import Choice
from models.errors import GenotypeError
from models.mixed import MixedOperation, WidthMask
from models.operations import make_operation


@dataclass(frozen=True)
class ChosenWidth:
    """A width to build layers with, and the module that enforces it (identity once derived)."""

    channels: int
    mask: nn.Module


class Site(Protocol):
    """The two questions a network definition may ask."""

    def operation(self, choice_id: str, candidates: Sequence[str], in_channels: int, out_channels: int) -> nn.Module:
        """A layer picked among `candidates`."""
        ...

    def width(self, choice_id: str, widths: Sequence[int]) -> ChosenWidth:
        """A number of channels picked among `widths`."""
        ...


class SupernetSite:
    """Builds every candidate and collects the choices, in the order in which they are asked for."""

    def __init__(self) -> None:
        self.choices: dict[str, Choice] = {}

    def _new(self, choice: Choice) -> Choice:
        if choice.choice_id in self.choices:
            raise ValueError(f"two choices are called {choice.choice_id}")
        self.choices[choice.choice_id] = choice
        return choice

    def operation(self, choice_id: str, candidates: Sequence[str], in_channels: int, out_channels: int) -> nn.Module:
        """All candidates behind one choice; a single candidate is no choice and is built plainly."""
        if len(candidates) == 1:
            return make_operation(candidates[0], in_channels, out_channels)
        choice = self._new(Choice(choice_id, "operation", tuple(candidates)))
        layers = {name: make_operation(name, in_channels, out_channels) for name in candidates}
        return MixedOperation(choice, layers)

    def width(self, choice_id: str, widths: Sequence[int]) -> ChosenWidth:
        """The largest width, masked down by a choice."""
        if len(widths) == 1:
            return ChosenWidth(widths[0], nn.Identity())
        choice = self._new(Choice(choice_id, "width", tuple(str(width) for width in widths)))
        return ChosenWidth(max(widths), WidthMask(choice, tuple(widths)))


class DerivedSite:
    """Builds only what `picks` (choice id -> candidate) names.

    Raises:
        GenotypeError: A choice has no pick, a pick is no candidate of its choice, or (on `finish`) a pick names no
            choice of the network.
    """

    def __init__(self, picks: Mapping[str, str]) -> None:
        self._picks = dict(picks)
        self._used: set[str] = set()

    def _picked(self, choice_id: str, candidates: Sequence[str]) -> str:
        if len(candidates) == 1:
            return candidates[0]
        picked = self._picks.get(choice_id)
        if picked is None or picked not in candidates:
            raise GenotypeError(f"choice {choice_id}: picked {picked!r}, allowed: {', '.join(candidates)}")
        self._used.add(choice_id)
        return picked

    def operation(self, choice_id: str, candidates: Sequence[str], in_channels: int, out_channels: int) -> nn.Module:
        """The picked layer."""
        return make_operation(self._picked(choice_id, candidates), in_channels, out_channels)

    def width(self, choice_id: str, widths: Sequence[int]) -> ChosenWidth:
        """The picked width, with nothing left to mask."""
        return ChosenWidth(int(self._picked(choice_id, [str(width) for width in widths])), nn.Identity())

    def finish(self) -> None:
        """Check that every pick was used."""
        unused = sorted(set(self._picks) - self._used)
        if unused:
            raise GenotypeError(f"the genotype picks for choices that this space does not have: {', '.join(unused)}")
