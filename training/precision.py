"""Which arithmetic a device trains in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from training.errors import TrainingError

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def pick_device(name: str) -> torch.device:
    """`auto` (CUDA where there is a device, else CPU), `cpu`, or `cuda`.

    Raises:
        TrainingError: `cuda` was asked for and there is none, or the name is unknown.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise TrainingError(f"unknown device {name!r}; known: auto, cpu, cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise TrainingError("device cuda was asked for, but torch sees no CUDA device; use --device cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def resolve_precision(precision: Precision, device: torch.device) -> Precision:
    """Settle `auto`: bf16 on a CUDA device that has it, else fp16 there; fp32 on a CPU, where halves run slower.

    Raises:
        TrainingError: fp16 on a CPU, which torch cannot train in.
    """
    if precision == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision == "fp16" and device.type != "cuda":
        raise TrainingError("fp16 training needs a CUDA device; use precision fp32 or bf16")
    return precision


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a settled precision; none for fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
