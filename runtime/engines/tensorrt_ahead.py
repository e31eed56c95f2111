"""Builds an engine in a process of its own, which may crash without taking anyone else with it.

`export.ahead` runs this file: `python -m runtime.engines.tensorrt_ahead FOLDER`. It reads `model.onnx` and
`request.json` in the folder, and writes `engine` or, in words, `refusal`.
"""

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runtime.engines.tensorrt_build import ParsedModel, Profile, Sizes, build_log
from runtime.errors import MillisightError
from runtime.requirements import import_tensorrt

__all__ = ["ENGINE", "MODEL", "REFUSAL", "REQUEST", "BuildRequest", "main"]

MODEL, REQUEST, ENGINE, REFUSAL = "model.onnx", "request.json", "engine", "refusal"


class BuildRequest(BaseModel):
    """What to build.

    Attributes:
        engine: `Target.engine`.
        precision: What the model has to compute in.
        smallest: The smallest (N, H, W) that the engine shall take.
        usual: The (N, H, W) that it shall be fast for.
        largest: The largest (N, H, W) that it shall take.
        capabilities: Compute capabilities that it shall run on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    precision: str
    smallest: Sizes
    usual: Sizes
    largest: Sizes
    capabilities: tuple[str, ...]


def main(folder: Path) -> None:
    """Build what a folder asks for, and write the engine or the reason why there is none."""
    request = BuildRequest.model_validate_json((folder / REQUEST).read_bytes())
    try:
        trt = import_tensorrt(request.engine)
        model = ParsedModel(trt, build_log(trt), (folder / MODEL).read_bytes(), request.precision)
        plan = model.plan(Profile(request.smallest, request.usual, request.largest), request.capabilities)
    except MillisightError as error:
        (folder / REFUSAL).write_text(str(error), encoding="utf-8")
    else:
        (folder / ENGINE).write_bytes(plan)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
