"""An ONNX file as OpenVINO reads it: its form, its notes, and what it is compiled to."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engines.batches import Shape
from runtime.engines.precision import check_precision
from runtime.errors import EngineError, TargetError
from runtime.target import Target

__all__ = ["CompiledModel", "OpenVinoModel"]

_DEVICES: Mapping[str, str] = MappingProxyType({"cpu": "CPU", "intelgpu": "GPU"})
"""Device of a target to OpenVINO's name for it."""


class OpenVinoModel:
    """A model that was read and checked.

    Args:
        ov: The module openvino.
        content: An ONNX file's bytes.
        target: Where it is going to be compiled for.

    Raises:
        EngineError: If it is not readable, does not have one float32 NCHW input and one output, or computes in int8
            and the target does not, or the other way round; or if its notes make no sense.
    """

    def __init__(self, ov: Any, content: bytes, target: Target) -> None:
        self._ov = ov
        self._target = target
        self._failures = _failure_types(ov)
        self._core = ov.Core()
        try:
            self._model = self._core.read_model(content)
        except self._failures as error:
            raise EngineError(f"The model was refused by OpenVINO: {_in_short(error)}") from error
        self._check_form()
        kinds = {node.get_type_name() for node in self._model.get_ops()}
        check_precision("int8" if "FakeQuantize" in kinds else self._note("precision", "fp32"), target)
        self._sides = self._model.input(0).get_partial_shape()
        multiple = self._note("multiple", "1")
        if not multiple.isdecimal() or int(multiple) < 1:
            raise EngineError(f"The model notes a multiple of '{multiple}'; it has to be a whole number from 1 on.")
        self._multiple = int(multiple)

    def check_size(self, shape: Shape) -> None:
        """Refuse a batch before OpenVINO sees it: what does not fit it may compute all the same, or end the process.

        Raises:
            EngineError: If the model does not take it.
        """
        if not self._sides.compatible(self._ov.PartialShape(list(shape))):
            raise EngineError(f"The model takes {self._sides}, got a batch of shape {shape}.")
        if any(side % self._multiple for side in shape[2:]):
            raise EngineError(
                f"The model takes heights and widths that are multiples of {self._multiple}, got a batch of shape "
                f"{shape}."
            )

    def compile(self, shape: Shape | None) -> "CompiledModel":
        """Compile for batches of one shape, or for all.

        Raises:
            EngineError: If OpenVINO refuses the model in this shape.
            TargetError: If it would run on another device.
        """
        device, model = _DEVICES[self._target.device], self._model.clone()
        try:
            if shape is not None:
                model.reshape(list(shape))
            compiled = self._core.compile_model(model, device, _settings(self._target))
        except self._failures as error:
            raise EngineError(f"OpenVINO refused the model for {shape or 'any size'}: {_in_short(error)}") from error
        actual = [str(name) for name in compiled.get_property("EXECUTION_DEVICES")]
        if not actual or any(name.partition(".")[0] != device for name in actual):
            raise TargetError(f"{device} was asked for, but OpenVINO would run on {', '.join(actual) or 'nothing'}.")
        return CompiledModel(self._ov, compiled, self._failures)

    def _check_form(self) -> None:
        inputs, outputs = self._model.inputs, self._model.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise EngineError(
                f"A restoration model has one input and one output; this one has {len(inputs)} and {len(outputs)}."
            )
        for role, node in (("input", inputs[0]), ("output", outputs[0])):
            kind, sides = node.get_element_type(), node.get_partial_shape()
            if kind != self._ov.Type.f32 or sides.rank.is_dynamic or len(sides) != 4:
                raise EngineError(
                    f"The {role} '{node.get_any_name()}' is {kind.get_type_name()} of shape {sides}; "
                    "it has to be float32 (N, C, H, W)."
                )

    def _note(self, name: str, default: str) -> str:
        place = ["framework", f"millisight.{name}"]
        return str(self._model.get_rt_info(place).value) if self._model.has_rt_info(place) else default


class CompiledModel:
    """A compiled model with the one request that runs it. Not safe between threads."""

    def __init__(self, ov: Any, compiled: Any, failures: tuple[type[Exception], ...]) -> None:
        self._ov = ov
        self._failures = failures
        self._request = compiled.create_infer_request()
        self._input = np.empty((1, 1, 1, 1), dtype=np.float32)

    def bind(self, batch: NDArray[np.float32]) -> None:
        """Let the next runs read this batch, without a copy if its memory allows it.

        Raises:
            EngineError: If OpenVINO refuses it.
        """
        # OpenVINO reads memory in order, and shares none that it may not write to.
        self._input = np.require(batch, requirements=["C_CONTIGUOUS", "WRITEABLE"])
        try:
            self._request.set_input_tensor(self._ov.Tensor(self._input, shared_memory=True))
        except self._failures as error:
            raise self._refusal(error) from error

    def compute(self) -> None:
        """Run on what is bound.

        Raises:
            EngineError: If OpenVINO fails. What it does after that is not defined: use this object no more.
        """
        # Not `infer`: with one thread and free sizes that loses the exception, leaves an empty or an old result, and
        # ends the process at the run after (OpenVINO 2026.4).
        try:
            self._request.start_async()
            self._request.wait()
        except self._failures as error:
            raise self._refusal(error) from error

    def result(self) -> NDArray[np.float32]:
        """A copy of what the last run gave.

        Raises:
            EngineError: If its shape is not (N, C, scale*H, scale*W).
        """
        found = np.array(self._request.get_output_tensor().data, dtype=np.float32)
        batches, _, height, width = self._input.shape
        scale = found.shape[2] // height
        if scale == 0 or (found.shape[0], *found.shape[2:]) != (batches, scale * height, scale * width):
            raise EngineError(
                f"The model gave {found.shape} for a batch of shape {self._input.shape}; it has to give "
                "(N, C, scale*H, scale*W)."
            )
        return found

    def _refusal(self, error: Exception) -> EngineError:
        return EngineError(f"OpenVINO failed on a batch of shape {self._input.shape}: {_in_short(error)}")


def _settings(target: Target) -> dict[str, str | int | bool]:
    common: dict[str, str | int | bool] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # Said always: left to itself OpenVINO computes in bf16 or f16 wherever the device offers it.
        "INFERENCE_PRECISION_HINT": "f16" if target.precision == "fp16" else "f32",
    }
    if target.on_gpu:
        return common
    # Pinned threads of several engines may share a core while another one has nothing to do.
    return {**common, "INFERENCE_NUM_THREADS": target.threads, "ENABLE_CPU_PINNING": False}


def _failure_types(ov: Any) -> tuple[type[Exception], ...]:
    """What OpenVINO raises: the exceptions of its front ends share no base class but Exception."""
    names = (
        "GeneralFailure",
        "InitializationFailure",
        "NotImplementedFailure",
        "OpConversionFailure",
        "OpValidationFailure",
    )
    own = tuple(getattr(ov.frontend, name) for name in names if hasattr(ov.frontend, name))
    # ValueError: a message that quotes bytes of a damaged file is not always text.
    return (*own, RuntimeError, ValueError)


def _in_short(error: Exception) -> str:
    """The message without the lines that name OpenVINO's own source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(told or lines)[:400].rstrip(".")
