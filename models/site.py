"""Where a network definition asks for its searchable parts.

A space writes its network once, against a `Site`. Given a `SupernetSite` every searchable part holds all candidates;
given a `DerivedSite` only the picked one is built. This is what makes one definition serve both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from models.choice import Choice, ChoiceKind
from models.errors import GenotypeError
from models.mixed import MixedModule, MixedOperation, Weight, WidthMask
from models.operations import OPERATIONS, InnerWidths, make_operation


class ChosenWidth:
    """A width to build layers with, and the module that enforces it (identity once derived)."""

    def __init__(self, channels: int, mask: nn.Module | None = None) -> None:
        self.channels = channels
        self.mask = nn.Identity() if mask is None else mask


@dataclass(frozen=True)
class Branches:
    """Which candidates of a choice between parts of a network exist here, and which run with what weight.

    Attributes:
        names: Candidates to build: all of them in a supernet, the picked one once derived.
        choice: The choice; None once derived.
    """

    names: tuple[str, ...]
    choice: Choice | None = None

    def active(self) -> dict[str, Weight]:
        """Candidate -> weight, for those that run in this forward pass; the plain number 1.0 once derived.

        Raises:
            ValueError: The relaxation wants candidates probed one at a time, which whole branches cannot be.
        """
        if self.choice is None:
            return dict.fromkeys(self.names, 1.0)
        selection = self.choice.selection
        if selection.probe:
            raise ValueError(f"choice {self.choice.choice_id} picks branches; these cannot be probed, relax it softly")
        return {self.names[index]: selection.weights[index] for index in selection.active}


class Site(Protocol):
    """The questions that a network definition may ask."""

    def operation(
        self,
        choice_id: str,
        candidates: Sequence[str],
        in_channels: int,
        out_channels: int,
        *,
        shared: bool = False,
        entering: ChosenWidth | None = None,
        leaving: ChosenWidth | None = None,
    ) -> nn.Module:
        """A layer picked among `candidates`.

        Args:
            choice_id: The choice.
            candidates: Names of operations; those with several branches map a list of scales to a list of scales.
            in_channels: Channels in.
            out_channels: Channels out.
            shared: Several layers may obey this one choice, knowingly.
            entering: The width choice behind `in_channels`, for operations with inner channels that follow it.
            leaving: Likewise behind `out_channels`.
        """
        ...

    def width(self, choice_id: str, widths: Sequence[int]) -> ChosenWidth:
        """A number of channels picked among `widths`."""
        ...

    def branches(self, choice_id: str, kind: ChoiceKind, candidates: Sequence[str]) -> Branches:
        """A choice between parts of the network that are more than one layer: build the parts that it names."""
        ...


class SupernetSite:
    """Builds every candidate and collects the choices, in the order in which they are asked for."""

    def __init__(self) -> None:
        self.choices: dict[str, Choice] = {}

    def _choice(self, choice_id: str, kind: ChoiceKind, candidates: Sequence[str], *, shared: bool = False) -> Choice:
        found = self.choices.get(choice_id)
        if found is None:
            found = self.choices[choice_id] = Choice(choice_id, kind, tuple(candidates))
        elif not shared or found.candidates != tuple(candidates):
            raise ValueError(f"two choices are called {choice_id}")
        return found

    def operation(
        self,
        choice_id: str,
        candidates: Sequence[str],
        in_channels: int,
        out_channels: int,
        *,
        shared: bool = False,
        entering: ChosenWidth | None = None,
        leaving: ChosenWidth | None = None,
    ) -> nn.Module:
        """All candidates behind one choice; a single candidate is no choice and is built plainly."""
        layers = {name: make_operation(name, in_channels, out_channels) for name in candidates}
        for layer in layers.values():
            if isinstance(layer, InnerWidths):
                layer.follow(entering.mask if entering else None, leaving.mask if leaving else None)
        if len(layers) == 1:
            return next(iter(layers.values()))
        scales = OPERATIONS[candidates[0]].branches > 1
        choice = self._choice(choice_id, "module" if scales else "operation", candidates, shared=shared)
        return MixedModule(choice, layers) if scales else MixedOperation(choice, layers)

    def width(self, choice_id: str, widths: Sequence[int]) -> ChosenWidth:
        """The largest width, masked down by a choice."""
        if len(widths) == 1:
            return ChosenWidth(widths[0])
        choice = self._choice(choice_id, "width", tuple(str(width) for width in widths))
        return ChosenWidth(max(widths), WidthMask(choice, tuple(widths)))

    def branches(self, choice_id: str, kind: ChoiceKind, candidates: Sequence[str]) -> Branches:
        """All of them."""
        if len(candidates) == 1:
            return Branches(tuple(candidates))
        return Branches(tuple(candidates), self._choice(choice_id, kind, candidates))


class DerivedSite:
    """Builds only what `picks` (choice id -> candidate) names.

    Attributes:
        used: The picks that the network asked for, in that order. Choices in parts of a space that a derived network
            leaves out are never asked for.

    Raises:
        GenotypeError: A choice has no pick, a pick is no candidate of its choice, or (on `finish`) a pick names no
            choice of the network.
    """

    def __init__(self, picks: Mapping[str, str]) -> None:
        self._picks = dict(picks)
        self.used: dict[str, str] = {}

    def _picked(self, choice_id: str, candidates: Sequence[str]) -> str:
        if len(candidates) == 1:
            return candidates[0]
        picked = self._picks.get(choice_id)
        if picked is None or picked not in candidates:
            raise GenotypeError(f"choice {choice_id}: picked {picked!r}, allowed: {', '.join(candidates)}")
        self.used[choice_id] = picked
        return picked

    def operation(
        self,
        choice_id: str,
        candidates: Sequence[str],
        in_channels: int,
        out_channels: int,
        *,
        shared: bool = False,  # noqa: ARG002 - a supernet's business
        entering: ChosenWidth | None = None,  # noqa: ARG002
        leaving: ChosenWidth | None = None,  # noqa: ARG002
    ) -> nn.Module:
        """The picked layer."""
        return make_operation(self._picked(choice_id, candidates), in_channels, out_channels)

    def width(self, choice_id: str, widths: Sequence[int]) -> ChosenWidth:
        """The picked width, with nothing left to mask."""
        return ChosenWidth(int(self._picked(choice_id, [str(width) for width in widths])))

    def branches(self, choice_id: str, kind: ChoiceKind, candidates: Sequence[str]) -> Branches:  # noqa: ARG002
        """The picked one."""
        return Branches((self._picked(choice_id, candidates),))

    def finish(self) -> None:
        """Check that every pick was used."""
        unused = sorted(set(self._picks) - set(self.used))
        if unused:
            raise GenotypeError(f"the genotype picks for choices that this network does not have: {', '.join(unused)}")
