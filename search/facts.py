"""What a method is, in numbers that are computed from its space and not written down by hand."""

from dataclasses import dataclass

import torch

from models import get_space
from search.costs import static_prices
from search.derive import cheapest, dearest
from search.methods import Method
from search.presets import PAPER
from tasks import TASKS, Task


@dataclass(frozen=True)
class Facts:
    """A method's space under one preset.

    Attributes:
        task: The task that the sizes are for.
        preset: Name of the preset.
        networks: How many networks the space holds.
        choices: Kind of choice -> (how many, largest number of candidates).
        supernet_parameters: Weights of the supernet that is searched.
        smallest: Parameters of the smallest derived network.
        largest: Parameters of the largest derived network.
    """

    task: str
    preset: str
    networks: int
    choices: dict[str, tuple[int, int]]
    supernet_parameters: int
    smallest: int
    largest: int


def method_facts(method: Method, preset: str = PAPER, task: Task | None = None) -> Facts:
    """Count what a method searches; by default at the published sizes, for the first task that the paper treats.

    Raises:
        SearchError: The method has no such preset.
    """
    chosen = task or paper_task(method)
    found = method.preset(preset, chosen)
    space = get_space(method.space)
    config, searched = method.space_configs(found, chosen)
    with torch.device("meta"):
        supernet = space.supernet(searched)
    choices: dict[str, tuple[int, int]] = {}
    for choice in supernet.choices.values():
        count, most = choices.get(choice.kind, (0, 0))
        choices[choice.kind] = (count + 1, max(most, len(choice.candidates)))
    # Parameters do not depend on the size; any that all divisors divide will do.
    prices = static_prices(space, config, "parameters", 64, 64)
    arcs = space.trellis(config)
    return Facts(
        task=chosen.name + (f" x{chosen.scale}" if chosen.scale > 1 else ""),
        preset=preset,
        networks=space.num_networks(config),
        choices=choices,
        supernet_parameters=sum(p.numel() for p in supernet.weight_parameters().values()),
        smallest=round(cheapest(arcs, prices)),
        largest=round(dearest(arcs, prices)),
    )


def paper_task(method: Method) -> Task:
    """The first task that the paper treats, at the largest scale it has."""
    return max((task for task in TASKS if task.name == method.paper_tasks[0]), key=lambda task: task.scale)
