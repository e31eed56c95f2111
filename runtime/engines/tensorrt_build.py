"""From an ONNX file to a TensorRT plan for one shape.

The names used here are those that TensorRT 10 and 11 share. TensorRT-RTX has them too and builds without a driver: that
is how this file was tried. TensorRT itself has not yet been run.
"""

from typing import Any

from runtime.engines.batches import Shape
from runtime.errors import EngineError

__all__ = ["BuildLog", "ParsedModel", "build_log"]


class BuildLog:
    """What TensorRT said that went wrong.

    Attributes:
        logger: The object TensorRT logs to; has to outlive everything that was made with it.
        errors: Messages of severity error and worse, in order.
    """

    def __init__(self, logger: Any, errors: list[str]) -> None:
        self.logger = logger
        self.errors = errors

    def error(self, what: str) -> EngineError:
        """An error that says what failed and why, as far as TensorRT said."""
        reasons = "; ".join(self.errors) or "it gave no reason"
        self.errors.clear()
        return EngineError(f"TensorRT {what}: {reasons}")


def build_log(trt: Any) -> BuildLog:
    """A logger that keeps errors instead of printing them.

    Args:
        trt: The module tensorrt.
    """
    errors: list[str] = []
    worst = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)

    class Logger(trt.ILogger):  # type: ignore[misc]  # its base class exists at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in worst:
                errors.append(message.strip())

    return BuildLog(Logger(), errors)


class ParsedModel:
    """A model as TensorRT read it, in the precision it is written in and no other.

    Args:
        trt: The module tensorrt.
        log: Where its errors go.
        model: An ONNX file's bytes.
        precision: `"fp32"` or `"fp16"`: what the file has to compute in.

    Raises:
        EngineError: If TensorRT refuses the model, or it is not of the right form or precision.
    """

    def __init__(self, trt: Any, log: BuildLog, model: bytes, precision: str) -> None:
        self._trt = trt
        self._log = log
        self._builder = trt.Builder(log.logger)
        self._network = self._builder.create_network(_network_flags(trt))
        # The parser refers to network and logger, which therefore have to live as long.
        self._parser = trt.OnnxParser(self._network, log.logger)
        if not self._parser.parse(model):
            raise log.error("refused the model")
        _check_form(trt, self._network)
        found = _precision(trt, self._network)
        if found != precision:
            raise EngineError(
                f"The model computes in {found} and the target in {precision}; "
                f"export the network with precision='{precision}'."
            )

    def plan(self, shape: Shape) -> Any:
        """Compile it for one shape. TF32 is not fp32 and is off.

        Args:
            shape: (N, C, H, W) of the input.

        Returns:
            The plan, which `Runtime.deserialize_cuda_engine` takes.

        Raises:
            EngineError: If the model cannot have this shape, or TensorRT cannot build it.
        """
        image = self._network.get_input(0)
        sides = tuple(image.shape)
        if any(side not in (-1, size) for side, size in zip(sides, shape, strict=True)):
            raise EngineError(f"The model takes {sides}, where -1 is any size, got a batch of shape {shape}.")
        config = self._builder.create_builder_config()
        config.clear_flag(self._trt.BuilderFlag.TF32)
        profile = self._builder.create_optimization_profile()
        profile.set_shape(image.name, shape, shape, shape)
        config.add_optimization_profile(profile)
        plan = self._builder.build_serialized_network(self._network, config)
        if plan is None:
            raise self._log.error(f"could not build an engine for {shape}")
        return plan


def _network_flags(trt: Any) -> int:
    # TensorRT 10 has to be told to keep the file's types; 11 does nothing else and may drop the flag one day.
    flags = trt.NetworkDefinitionCreationFlag.__members__
    return 1 << int(flags["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in flags else 0


def _check_form(trt: Any, network: Any) -> None:
    if network.num_inputs != 1 or network.num_outputs != 1:
        raise EngineError(
            f"A restoration model has one input and one output; this one has {network.num_inputs} and "
            f"{network.num_outputs}."
        )
    for role, tensor in (("input", network.get_input(0)), ("output", network.get_output(0))):
        if tensor.dtype != trt.DataType.FLOAT or len(tensor.shape) != 4:
            raise EngineError(
                f"The {role} '{tensor.name}' is {tensor.dtype} of shape {tuple(tensor.shape)}; "
                "it has to be float32 (N, C, H, W)."
            )


def _precision(trt: Any, network: Any) -> str:
    layers = (network.get_layer(index) for index in range(network.num_layers))
    types = {layer.get_output(index).dtype for layer in layers for index in range(layer.num_outputs)}
    return "fp16" if trt.DataType.HALF in types else "fp32"
