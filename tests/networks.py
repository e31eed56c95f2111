"""Networks of any space with random picks and weights, for tests that compare what computes the same."""

from typing import Any

import numpy as np
import torch

from models import Network, get_space


def shaken_network(name: str, values: dict[str, Any], zeros: float = 0.02) -> Network:
    """Networks that start as the identity would hide what they compute: every weight is moved.

    Args:
        name: Of the space.
        values: Of its config.
        zeros: How far weights are moved that are all zero; the others by 0.02.
    """
    space = get_space(name)
    config = space.parse_config(values)
    torch.manual_seed(0)
    network = space.build(space.genotype(config, space.random_picks(config, np.random.default_rng(0))))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_((0.02 if parameter.any() else zeros) * torch.randn_like(parameter))
    return network
