"""Engines that were built ahead of time: whether one fits this machine, and reading it."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from runtime.cuda import cuda_status
from runtime.errors import FallbackWarning
from runtime.records import EngineRecord
from runtime.requirements import find_version
from runtime.target import Target

__all__ = ["EngineHost", "StoredEngine", "engine_host", "fits", "read_stored", "warn_not_used"]


@dataclass(frozen=True)
class StoredEngine:
    """An engine in a file.

    Attributes:
        record: What it was built from, by and for.
        path: Where it is.
        sha256: Of the file, from a list of checksums; empty if whoever names the file has already compared it.
    """

    record: EngineRecord
    path: Path
    sha256: str = ""


@dataclass(frozen=True)
class EngineHost:
    """What a stored engine has to fit.

    Attributes:
        version: Installed engine and version, empty if none is; an engine of another version cannot be read.
        capability: Compute capability of the GPU, `"8.6"`; empty if there is no GPU.
    """

    version: str
    capability: str


def engine_host(target: Target) -> EngineHost:
    """This machine, as engines of a target see it."""
    return EngineHost(find_version(target.backend) or "", cuda_status().capability)


def fits(record: EngineRecord, target: Target, model_sha256: str | None = None, host: EngineHost | None = None) -> str:
    """Why a stored engine cannot be used for a target here; empty if it can.

    Args:
        record: Of the stored engine.
        target: Where it shall run.
        model_sha256: Of the ONNX file that it has to have been built from; None if that is known to be so.
        host: The machine; this one by default.
    """
    if record.backend != target.backend:
        return f"it is an engine of {record.backend}, not of {target.backend}"
    if record.precision != target.precision:
        return f"it computes in {record.precision}, not in {target.precision}"
    if model_sha256 is not None and record.source != model_sha256:
        return f"it was built from another ONNX file ({record.source[:16]}) than this one ({model_sha256[:16]})"
    here = engine_host(target) if host is None else host
    if record.version != here.version:
        return f"it was built by {record.version}, and {here.version or 'no such engine'} is installed"
    if record.capabilities and here.capability in record.capabilities:
        return ""
    built_for = f"it was built for GPUs of compute capability {', '.join(record.capabilities) or 'unknown'}"
    return f"{built_for}, and this one has {here.capability}" if here.capability else f"{built_for}; there is none here"


def read_stored(stored: StoredEngine, target: Target, model: bytes, host: EngineHost | None = None) -> bytes | None:
    """The content of a stored engine if it fits; otherwise None, after a `FallbackWarning` that says why not.

    Args:
        stored: The engine.
        target: Where it shall run.
        model: The ONNX file that it has to have been built from.
        host: The machine; this one by default.
    """
    reason = fits(stored.record, target, hashlib.sha256(model).hexdigest(), host)
    content = b""
    if not reason:
        try:
            content = stored.path.read_bytes()
        except OSError as error:
            reason = f"its file cannot be read ({error.strerror})"
        else:
            reason = _damage(content, stored.sha256)
    if reason:
        warn_not_used(stored, reason)
        return None
    return content


def warn_not_used(stored: StoredEngine, reason: str) -> None:
    """Say that a stored engine is not used, why, and what runs instead."""
    warnings.warn(
        f"The stored engine {stored.path.name} is not used: {reason}. An engine is built here from the ONNX file "
        "instead, which takes time at each start. To store one that fits, export the bundle again on this machine.",
        FallbackWarning,
        stacklevel=3,
    )


def _damage(content: bytes, sha256: str) -> str:
    if not content:
        return "its file is empty"
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        return f"its file is damaged: its SHA-256 begins with {found[:16]} and should with {sha256[:16]}"
    return ""
