"""Candidate layers: one class and one registry line each.

Everything else (supernet, latency carriers, export and gradient tests) picks an operation up from `OPERATIONS`.
"""

from torch import nn

from models.errors import UnknownNameError
from models.operations import basic, gates, plain, preactivated, reparameterised, scales, slimmable
from models.operations.operation import InnerWidths, Operation, OperationKind, SeesEverything, Squashes
from models.operations.plain import SqueezeExcitation

__all__ = [
    "OPERATIONS",
    "InnerWidths",
    "Operation",
    "OperationKind",
    "SeesEverything",
    "Squashes",
    "SqueezeExcitation",
    "make_operation",
]

_REGISTERED: tuple[Operation, ...] = (
    *basic.OPERATIONS,
    *gates.OPERATIONS,
    *scales.OPERATIONS,
    *plain.OPERATIONS,
    *preactivated.OPERATIONS,
    *slimmable.OPERATIONS,
    *reparameterised.OPERATIONS,
)

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _REGISTERED}
if len(OPERATIONS) != len(_REGISTERED):
    raise ValueError("two operations share a name")


def make_operation(name: str, in_channels: int, out_channels: int) -> nn.Module:
    """Build a registered operation.

    Raises:
        UnknownNameError: No operation has this name.
        ValueError: An operation that keeps channels was asked to change their number.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise UnknownNameError("operation", name, list(OPERATIONS))
    if operation.kind != "convolution" and in_channels != out_channels:
        raise ValueError(f"{name} keeps channels, got {in_channels} -> {out_channels}")
    return operation.make(in_channels, out_channels)
