"""A network that holds every candidate, and what a derived network takes over from it."""

from collections.abc import Mapping

from torch import Tensor, nn

from models.choice import Choice
from models.mixed import MixedModule, MixedOperation
from models.network import Network


class Supernet(nn.Module):
    """A network whose searchable parts hold every candidate.

    Attributes:
        network: Built by the same definition as every derived network.
        choices: Choice id -> choice, in order of construction.
    """

    def __init__(self, network: Network, choices: dict[str, Choice]) -> None:
        super().__init__()
        self.network = network
        # Not an nn.ModuleDict: ids hold dots. Choices are reached through the layers that obey them, or from here.
        self.choices = choices
        # Branches obey a choice without being a layer that could own it.
        self.raw = nn.ParameterList([choice.raw for choice in choices.values()])

    def forward(self, x: Tensor) -> Tensor:
        """Run with the current selection of every choice."""
        restored: Tensor = self.network(x)
        return restored

    def pick(self, picks: Mapping[str, str]) -> None:
        """Decide every choice one-hot. A choice without a pick (its part is not reached) takes its first candidate."""
        for choice_id, choice in self.choices.items():
            choice.pick(picks.get(choice_id, choice.candidates[0]))

    def weight_parameters(self) -> dict[str, nn.Parameter]:
        """Everything trained as network weights: all parameters but the choices' raw vectors."""
        raw = {id(choice.raw) for choice in self.choices.values()}
        return {name: p for name, p in self.network.named_parameters() if id(p) not in raw}


def inherit_weights(network: Network, supernet: Supernet, picks: Mapping[str, str]) -> None:
    """Copy the picked candidates' weights into a derived network, leading channels first where it is narrower.

    Every cuttable operation keeps its channels in leading order, so cutting the leading slice of each tensor equals
    masking the rest to zero in the supernet.
    """
    source = supernet.network.state_dict()
    renamed: dict[str, Tensor] = {}
    mixed = {
        path: module
        for path, module in supernet.network.named_modules()
        if isinstance(module, MixedOperation | MixedModule)
    }
    for name, tensor in source.items():
        owner = next((path for path in mixed if name.startswith(f"{path}.")), None)
        if owner is None:
            renamed[name] = tensor
            continue
        # No pick: the layer is in a part that the derived network does not have.
        picked = picks.get(mixed[owner].choice.choice_id)
        prefix = f"{owner}.candidates.{picked}."
        if picked is not None and name.startswith(prefix):
            renamed[f"{owner}.{name.removeprefix(prefix)}"] = tensor
    wanted = network.state_dict()
    cut = {name: renamed[name][tuple(slice(0, n) for n in tensor.shape)] for name, tensor in wanted.items()}
    network.load_state_dict(cut)
