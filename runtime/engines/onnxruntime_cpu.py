"""ONNX Runtime on the processor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.clock import clock_for
from runtime.engines.batches import check_batch
from runtime.engines.onnxruntime_session import (
    PROVIDERS,
    failure_types,
    open_session,
    session_options,
    single_input_and_output,
)
from runtime.engines.precision import PRECISION_NOTE, check_precision
from runtime.errors import EngineError
from runtime.requirements import import_onnxruntime
from runtime.target import Target

__all__ = ["OnnxRuntimeEngine"]


class OnnxRuntimeEngine:
    """ONNX Runtime on the processor, with the settings under which the latency tables are measured.

    Use `open_engine`. All graph optimisations, one operator at a time, `target.threads` threads inside an operator.
    Threads do not spin while they wait: with several sessions in one process, spinning pools take the cores from the
    session that works and cost a factor of 3 to 5.

    Args:
        model: Path of an ONNX file, or its bytes.
        target: A target whose engine is `onnxruntime` and whose device is the processor.

    Raises:
        EngineError: If the model is not readable, does not have one float32 NCHW input and one output, or computes in
            int8 and the target does not, or the other way round.
        TargetError: If ONNX Runtime is missing, or would run somewhere else than asked.
    """

    def __init__(self, model: Path | bytes, target: Target) -> None:
        ort: Any = import_onnxruntime()
        self._target = target
        self._failures = failure_types()
        source = model if isinstance(model, bytes) else str(model)
        self._session = open_session(ort, source, session_options(ort, target.threads), PROVIDERS[target.device])
        image, restored = single_input_and_output(self._session)
        self._input, self._output = str(image.name), str(restored.name)
        check_precision(_precision(self._session, model), target)

    @property
    def target(self) -> Target:
        """Where it runs."""
        return self._target

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to (N, C, scale*H, scale*W), float32.

        Raises:
            EngineError: If ONNX Runtime refuses the batch, for example because of its shape.
        """
        check_batch(batch)
        try:
            (result,) = self._session.run([self._output], {self._input: batch})
        except self._failures as error:
            raise EngineError(f"ONNX Runtime failed on a batch of shape {batch.shape}: {error}") from error
        return np.asarray(result, dtype=np.float32)

    def timer(self, batch: NDArray[np.float32]) -> Callable[[], float]:
        """A function that runs this batch once and returns the seconds it took, by the target's clock."""
        now = clock_for(self._target).now

        def once() -> float:
            start = now()
            self.run(batch)
            return now() - start

        return once


def _precision(session: Any, model: Path | bytes) -> str:
    """What a model computes in: what it notes of itself, else int8 if it quantises what it computes."""
    noted = session.get_modelmeta().custom_metadata_map.get(PRECISION_NOTE)
    if noted is not None:
        return str(noted)
    # The session does not tell its operations; in the file their names are plain text.
    content = model if isinstance(model, bytes) else model.read_bytes()
    return "int8" if b"QuantizeLinear" in content else "fp32"
