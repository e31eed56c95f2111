"""Operations, choices, genotypes, search spaces, and the network built from a genotype."""

from models.choice import CHOICE_KINDS, Choice, ChoiceKind, Selection
from models.cost import Carrier, Condition, CostTerm, OpKey
from models.errors import GenotypeError, ModelError, UnknownNameError
from models.fold import Foldable, fold_module, fold_network, has_folds
from models.genotype import Genotype, Pick, content_hash
from models.inspect import OperationCost, count_macs, num_parameters, operation_cost, receptive_radius
from models.network import Network
from models.operations import OPERATIONS, Operation, make_operation
from models.registry import build_network, get_space, spaces
from models.space import Space, SpaceConfig
from models.supernet import Supernet, inherit_weights
from models.trellis import END, START, Arc
from models.whole import restore_whole

__all__ = [
    "CHOICE_KINDS",
    "END",
    "OPERATIONS",
    "START",
    "Arc",
    "Carrier",
    "Choice",
    "ChoiceKind",
    "Condition",
    "CostTerm",
    "Foldable",
    "Genotype",
    "GenotypeError",
    "ModelError",
    "Network",
    "OpKey",
    "Operation",
    "OperationCost",
    "Pick",
    "Selection",
    "Space",
    "SpaceConfig",
    "Supernet",
    "UnknownNameError",
    "build_network",
    "content_hash",
    "count_macs",
    "fold_module",
    "fold_network",
    "get_space",
    "has_folds",
    "inherit_weights",
    "make_operation",
    "num_parameters",
    "operation_cost",
    "receptive_radius",
    "restore_whole",
    "spaces",
]
