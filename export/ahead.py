"""Engines built ahead of time, for GPUs that are elsewhere. Only TensorRT-RTX does that.

Building needs no GPU and no driver. That what is built also runs can be verified only on a machine that has the GPU.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from runtime import EngineError, EngineRecord, Target
from runtime.engines.tensorrt_ahead import ENGINE, MODEL, REFUSAL, REQUEST, BuildRequest
from runtime.engines.tensorrt_build import Profile, offered_capabilities
from runtime.requirements import import_tensorrt, installed_version

__all__ = ["AHEAD", "Profile", "ahead_capabilities", "build_ahead", "default_capabilities", "engine_file"]

AHEAD = ("cuda-tensorrtrtx",)
"""Device and engine of what can be built ahead of time."""

_TURING = "7.5"
_SECONDS = 900.0


def ahead_capabilities() -> tuple[str, ...]:
    """Compute capabilities that engines can be built for, lowest first: `("7.5", "8.0", ...)`.

    Raises:
        TargetError: If TensorRT-RTX is not installed.
    """
    return tuple(offered_capabilities(import_tensorrt("tensorrtrtx")))


def default_capabilities() -> tuple[str, ...]:
    """All but Turing (7.5), which has to be asked for, best by itself.

    One engine for the others is no larger than for one of them. With 7.5 among them it grows to 1.1 to 10 times the
    size, and NVIDIA says that it may run slower on all the others
    (https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/getting-started/support-matrix.html).

    Raises:
        TargetError: If TensorRT-RTX is not installed.
    """
    return tuple(name for name in ahead_capabilities() if name != _TURING)


def engine_file(target: Target) -> str:
    """Name of a target's engine in a bundle: `tensorrtrtx-fp16.engine`."""
    return f"{target.engine}-{target.precision}.engine"


def build_ahead(
    model: bytes,
    target: Target,
    profile: Profile,
    capabilities: Sequence[str] | None = None,
    seconds: float = _SECONDS,
) -> tuple[bytes, EngineRecord]:
    """Build an engine for GPUs that this machine need not have. Not byte for byte the same twice.

    It is built in a child process, because a fault in TensorRT ends its process.

    Args:
        model: An ONNX file that computes in the target's precision.
        target: `cuda-tensorrtrtx-fp32` or `-fp16`.
        profile: The batches that it shall take: of one shape, or a range.
        capabilities: Compute capabilities of the GPUs that it shall run on, `"8.6"`; `default_capabilities` if None.
        seconds: How long it may take.

    Returns:
        The engine's file, and what to record of it.

    Raises:
        TargetError: If the target does not exist, or TensorRT-RTX is not installed.
        EngineError: If the target's engines are not built ahead, a capability is unknown, the model is refused, or
            building fails, crashes or takes too long.
    """
    target.check_exists()
    if target.backend not in AHEAD:
        raise EngineError(f"Engines of {target.backend} are not built ahead of time; these are: {', '.join(AHEAD)}.")
    offered = ahead_capabilities()
    wanted = default_capabilities() if capabilities is None else tuple(name for name in offered if name in capabilities)
    unknown = sorted(set(capabilities or ()) - set(offered))
    if unknown or not wanted:
        raise EngineError(
            f"TensorRT-RTX builds no engine for compute capability {', '.join(unknown) or 'none'}; it offers "
            f"{', '.join(offered)}. Another GPU (9.0: H100, H200) is served by cuda-tensorrt, which builds on it."
        )
    request = BuildRequest(
        engine=target.engine,
        precision=target.precision,
        smallest=profile.smallest,
        usual=profile.usual,
        largest=profile.largest,
        capabilities=wanted,
    )
    engine = _in_child(model, request, seconds)
    return engine, EngineRecord(
        file=engine_file(target),
        backend=target.backend,
        precision=target.precision,
        source=hashlib.sha256(model).hexdigest(),
        version=installed_version(target.backend),
        capabilities=wanted,
        smallest=profile.smallest,
        usual=profile.usual,
        largest=profile.largest,
    )


def _in_child(model: bytes, request: BuildRequest, seconds: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="millisight-") as name:
        folder = Path(name)
        (folder / MODEL).write_bytes(model)
        (folder / REQUEST).write_text(request.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "runtime.engines.tensorrt_ahead", name]
        # The child finds the same packages, whatever put them in reach of this process.
        reach = {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        try:
            done = subprocess.run(
                command, env=os.environ | reach, capture_output=True, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"Building the engine took more than {seconds:g} s and was stopped.") from error
        if (folder / REFUSAL).is_file():
            raise EngineError((folder / REFUSAL).read_text(encoding="utf-8"))
        if done.returncode != 0 or not (folder / ENGINE).is_file():
            raise EngineError(f"Building the engine {_end(done.returncode)} ({_last_line(done.stderr)}).")
        return (folder / ENGINE).read_bytes()


def _end(status: int) -> str:
    return f"crashed ({signal.Signals(-status).name})" if status < 0 else f"ended with status {status}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
