"""From an ONNX file to a TensorRT plan for the shapes of one profile.

One builder for the modules `tensorrt` (10 and 11) and `tensorrt_rtx`: the names used here are those that they share,
and what only one has is used for that one only. TensorRT-RTX builds without a driver, which is how this file is tested.
TensorRT itself has not yet been run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.engines.batches import Shape
from runtime.errors import EngineError

__all__ = ["BuildLog", "ParsedModel", "Profile", "build_log", "is_rtx", "offered_capabilities"]

Sizes = tuple[int, int, int]
"""(N, H, W)"""


@dataclass(frozen=True)
class Profile:
    """The batches that one engine takes.

    Attributes:
        smallest: The smallest (N, H, W).
        usual: The (N, H, W) that it is made fast for.
        largest: The largest (N, H, W).

    Raises:
        EngineError: If a size is below 1, or they are not in order.
    """

    smallest: Sizes
    usual: Sizes
    largest: Sizes

    def __post_init__(self) -> None:
        sides = zip(self.smallest, self.usual, self.largest, strict=True)
        if not all(1 <= low <= middle <= high for low, middle, high in sides):
            raise EngineError(
                f"A profile needs 1 <= smallest <= usual <= largest in each of (N, H, W), got {self.smallest}, "
                f"{self.usual} and {self.largest}."
            )

    @classmethod
    def fixed(cls, batch: int, height: int, width: int) -> "Profile":
        """A profile of one shape only, in which everything can be planned ahead."""
        return cls(*[(batch, height, width)] * 3)

    def holds(self, shape: Shape) -> bool:
        """Whether a batch of shape (N, C, H, W) is inside."""
        sizes = (shape[0], shape[2], shape[3])
        return all(low <= size <= high for low, size, high in zip(self.smallest, sizes, self.largest, strict=True))

    def __str__(self) -> str:
        low, middle, high = ("x".join(map(str, sizes)) for sizes in (self.smallest, self.usual, self.largest))
        return low if low == high else f"{low} to {high}, usually {middle}"


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
        trt: The module tensorrt or tensorrt_rtx.
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


def is_rtx(trt: Any) -> bool:
    """Whether a module is TensorRT-RTX, which builds for GPUs that are elsewhere and compiles kernels where it runs."""
    return str(trt.__name__) == "tensorrt_rtx"


def offered_capabilities(trt: Any) -> Mapping[str, Any]:
    """Compute capabilities that engines can be built for with no such GPU at hand, lowest first: `{"7.5": ...}`.

    Args:
        trt: The module tensorrt_rtx; tensorrt builds for the GPU at hand only and offers none.
    """
    if not is_rtx(trt):
        return {}
    named = {re.fullmatch(r"SM(\d+)(\d)", name): value for name, value in trt.ComputeCapability.__members__.items()}
    numbers = {(int(match[1]), int(match[2])): value for match, value in named.items() if match is not None}
    return {f"{major}.{minor}": numbers[major, minor] for major, minor in sorted(numbers)}


class ParsedModel:
    """A model as TensorRT read it, in the precision it is written in and no other.

    Args:
        trt: The module tensorrt or tensorrt_rtx.
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
        self._timings: Any = None

    def plan(self, profile: Profile, capabilities: Sequence[str] = ()) -> Any:
        """Compile it for the shapes of a profile. TF32 is not fp32 and is off.

        Args:
            profile: The batches that it shall take.
            capabilities: Compute capabilities of the GPUs that it shall run on, `"8.6"`; the GPU at hand if empty.

        Returns:
            The plan, which `Runtime.deserialize_cuda_engine` takes.

        Raises:
            EngineError: If the model cannot have these shapes, TensorRT offers no such capability or cannot build it.
        """
        image = self._network.get_input(0)
        shapes = [(n, self._channels(), height, width) for n, height, width in _corners(profile)]
        sides = tuple(image.shape)
        if any(side not in (-1, size) for shape in shapes for side, size in zip(sides, shape, strict=True)):
            raise EngineError(f"The model takes {sides}, where -1 is any size, and cannot be built for {profile}.")
        config = self._builder.create_builder_config()
        config.clear_flag(self._trt.BuilderFlag.TF32)
        self._choose_devices(config, capabilities)
        self._share_timings(config)
        optimisation = self._builder.create_optimization_profile()
        optimisation.set_shape(image.name, *shapes)
        config.add_optimization_profile(optimisation)
        plan = self._builder.build_serialized_network(self._network, config)
        if plan is None:
            raise self._log.error(f"could not build an engine for {profile}")
        return plan

    def _channels(self) -> int:
        channels = int(self._network.get_input(0).shape[1])
        if channels < 1:
            raise EngineError("The model takes any number of channels; an engine needs to know it: fix it in the file.")
        return channels

    def _choose_devices(self, config: Any, capabilities: Sequence[str]) -> None:
        offered = offered_capabilities(self._trt)
        if unknown := sorted(set(capabilities) - set(offered)):
            raise EngineError(
                f"{self._trt.__name__} builds no engine for compute capability {', '.join(unknown)}; it offers "
                f"{', '.join(offered) or 'only that of the GPU at hand, when none is named'}."
            )
        if not is_rtx(self._trt):
            return
        wanted = [offered[name] for name in offered if name in capabilities]
        wanted = wanted or [self._trt.ComputeCapability.CURRENT]
        config.num_compute_capabilities = len(wanted)
        for index, capability in enumerate(wanted):
            if not config.set_compute_capability(capability, index):
                raise self._log.error(f"refused to build for {capability}")
        # Without it an engine may allocate while it runs, and then cannot be recorded as a CUDA graph.
        config.set_flag(self._trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def _share_timings(self, config: Any) -> None:
        """Kernels that were timed for one shape need not be timed again for the next. TensorRT-RTX times none."""
        if is_rtx(self._trt):
            return
        if self._timings is None:
            self._timings = config.create_timing_cache(b"")
        if not config.set_timing_cache(self._timings, False):
            raise self._log.error("refused its own timing cache")


def _corners(profile: Profile) -> tuple[Sizes, Sizes, Sizes]:
    return profile.smallest, profile.usual, profile.largest


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
    if trt.DataType.INT8 in types:
        return "int8"
    return "fp16" if trt.DataType.HALF in types else "fp32"
