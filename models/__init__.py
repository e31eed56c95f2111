"""Operations, choices, genotypes, search spaces, and the network built from a genotype."""

from models.choice import Choice, Selection
from models.errors import GenotypeError, ModelError, UnknownNameError
from models.genotype import Genotype, Pick, content_hash
from models.inspect import num_parameters, receptive_radius
from models.operations import OPERATIONS, Operation, make_operation
from models.registry import build_network, get_space, spaces
from models.space import Carrier, CostTerm, Network, OpKey, Space, SpaceConfig, Supernet, inherit_weights
from models.unet import UNetConfig, UNetSpace
from models.whole import restore_whole

__all__ = [
    "OPERATIONS",
    "Carrier",
    "Choice",
    "CostTerm",
    "Genotype",
    "GenotypeError",
    "ModelError",
    "Network",
    "OpKey",
    "Operation",
    "Pick",
    "Selection",
    "Space",
    "SpaceConfig",
    "Supernet",
    "UNetConfig",
    "UNetSpace",
    "UnknownNameError",
    "build_network",
    "content_hash",
    "get_space",
    "inherit_weights",
    "make_operation",
    "num_parameters",
    "receptive_radius",
    "restore_whole",
    "spaces",
]
