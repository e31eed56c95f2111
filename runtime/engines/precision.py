"""Whether a model computes in what its target promises, as far as that makes a difference to what runs."""

from runtime.errors import EngineError
from runtime.target import Target

__all__ = ["PRECISION_NOTE", "check_precision"]

PRECISION_NOTE = "millisight.precision"
"""Key of the note in an ONNX file's metadata; a file without it says nothing."""


def check_precision(found: str, target: Target) -> None:
    """Refuse int8 where something else was asked for, and the other way round.

    An engine takes int8 from the file: a file in fp32 on an int8 target would run, in fp32 and under the wrong name.
    Files in fp16 pass on a target in fp32 and likewise: there the engine's setting decides what is computed in.

    Args:
        found: What the model computes in.
        target: Where it is opened.

    Raises:
        EngineError: If one of the two is int8 and the other is not.
    """
    if (found == "int8") == (target.precision == "int8"):
        return
    remedy = (
        "open its int8 file, which `millisight export` makes"
        if target.precision == "int8"
        else f"open its {target.precision} file, or choose {target.backend}-int8"
    )
    raise EngineError(f"The model computes in {found} and the target in {target.precision} ({target.slug}); {remedy}.")
