"""What a pod of this service needs, from its bundles and its settings: cores, memory and disk, with their parts.

Every part is a bound. That of an engine was fitted to the memory of 32 networks of all search spaces at tiles of 160,
256 and 512 pixels, on ONNX Runtime and OpenVINO: it is 1.08 to 4.1 times of it. Tests measure engines and the whole
service under load against it (docs/kubernetes.md has the numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runtime.activations import activation_bytes
from runtime.auto import AUTO
from runtime.bundle import Bundle
from runtime.target import PLAIN, TARGETS, Target
from serving.errors import SettingsError
from serving.jobs.jobs import OFF
from serving.scheduling.records import batch_of
from serving.settings import Settings

__all__ = ["Footprint", "Share", "engine_bytes", "footprint"]

_MIB = 2**20

# Python, BentoML and what the rehearsal of the start leaves behind; measured 121 to 207 MiB.
_SUPERVISOR_BYTES = 224 * _MIB
# Python, BentoML, both engines' libraries and the HTTP server; measured 148 MiB without models.
_WORKER_BYTES = 192 * _MIB
# One engine: what it costs empty, times its graph's file, times what flows through it (`activation_bytes`). OpenVINO
# compiles each network twice, for its tile and for all other sizes; ONNX Runtime's arena grows by doubling.
_ENGINE_BYTES = 80 * _MIB
_WEIGHT_COPIES = 4.0
_ACTIVATION_COPIES = 4.5
# Libraries and context of CUDA in the host's memory, once a worker; an allowance that was not measured.
_CUDA_BYTES = 3072 * _MIB

# Bytes a pixel, beside the pixels themselves, for as long as a codec runs: the costliest pictures that were measured
# were 16 bits deep with alpha (decoding 16.0) and WebP without loss (encoding 28.6, its file among them).
_DECODE_BYTES, _ENCODE_BYTES = 16, 29
# The thread for short work beside the others takes pictures up to about this many pixels.
_EXPRESS_PIXELS = 2_000_000
# Colours and alpha of 16 bits.
_DEEPEST_PIXEL = 8
# Floats of the row of tiles under way: for a picture of one row of tiles, of all that comes of it.
_BAND_PIXEL = 12
# What the parts leave out: pages that are not full, requests, answers on their way out.
_HEADROOM = 0.10

# Metrics files, sockets and the list of models; then what a container runtime keeps of the log.
_TEMPORARY_BYTES = 128 * _MIB
_LOG_BYTES = 64 * _MIB


@dataclass(frozen=True)
class Share:
    """A part of what a pod needs.

    Attributes:
        name: What needs it.
        bytes: How much.
        why: What it is computed from.
    """

    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class Footprint:
    """What one pod needs.

    Attributes:
        cores: Processor cores, as request and as limit: the threads of all slots.
        memory: Parts of its memory.
        disk: Parts of what it writes, and of the bundles it may hold a copy of.
    """

    cores: int
    memory: tuple[Share, ...]
    disk: tuple[Share, ...]

    @property
    def memory_bytes(self) -> int:
        """The sum of its memory."""
        return sum(share.bytes for share in self.memory)

    @property
    def disk_bytes(self) -> int:
        """The sum of its disk."""
        return sum(share.bytes for share in self.disk)


def footprint(bundles: Sequence[Bundle], settings: Settings) -> Footprint:
    """What a pod needs that serves these bundles with these settings.

    Args:
        bundles: All that it serves.
        settings: Of the pod. `threads` has to be named, since the pod runs on another machine.

    Raises:
        SettingsError: There is no bundle, or `threads` is 0.
        TargetError: The target does not exist, or OpenVINO, which reads the graphs, is missing.
        BundleError: A bundle has no graph for the target, or was changed since it was loaded.
        EngineError: A graph cannot be read.
    """
    if not bundles:
        raise SettingsError("A pod without bundles has nothing to serve. Name at least one.")
    if settings.threads == 0:
        raise SettingsError(
            "MILLISIGHT_THREADS is 0, which means the cores of the machine it runs on, and the pod's are not those of "
            "this one. Name the threads of a slot."
        )
    cores = settings.workers * settings.slots * settings.threads
    engines = [engine_bytes(bundle, settings) for bundle in bundles]
    per_worker = [
        Share("worker", _WORKER_BYTES, "Python, BentoML and the engines' libraries"),
        *(
            Share(bundle.manifest.name, settings.slots * size, f"an engine in {_count(settings.slots, 'slot')}")
            for bundle, size in zip(bundles, engines, strict=True)
        ),
        Share("swap", settings.slots * max(engines), "the largest of them twice, while a changed bundle is loaded"),
        _pictures(bundles, settings),
        Share("bodies", settings.body_bytes_total, "MILLISIGHT_BODY_BYTES_TOTAL"),
        _codecs(bundles, settings, max(1, cores // settings.workers)),
    ]
    if _on_gpu(settings):
        per_worker.append(Share("cuda", _CUDA_BYTES, "CUDA's libraries and context; not measured"))
    memory = [Share("supervisor", _SUPERVISOR_BYTES, "the process that starts the workers")]
    for share in per_worker:
        why = share.why if settings.workers == 1 else f"{share.why}; {settings.workers} workers"
        memory.append(Share(share.name, settings.workers * share.bytes, why))
    total = sum(share.bytes for share in memory)
    memory.append(Share("headroom", round(_HEADROOM * total), f"{_HEADROOM:.0%} of all that"))
    return Footprint(cores, tuple(memory), tuple(_disk(bundles, settings)))


def engine_bytes(bundle: Bundle, settings: Settings) -> int:
    """Memory of one engine of a bundle, bytes: of one slot, in the precision that takes most of those it may run in.

    Raises:
        TargetError: The target does not exist, or OpenVINO, which reads the graphs, is missing.
        BundleError: The bundle has no graph for the target, or was changed since it was loaded.
        EngineError: The graph cannot be read.
    """
    manifest = bundle.manifest
    targets = _targets(bundle, settings)
    precisions = sorted({target.precision for target in targets})
    files = max(bundle.model_path(precision).stat().st_size for precision in precisions)
    batch = max(batch_of(manifest, target) for target in targets)
    # The tensors between operations are those of the network, whatever it computes in.
    graph = bundle.read(bundle.model_path(precisions[0]).name)
    flowing = activation_bytes(graph, (batch, 3, *manifest.size.tile))
    return round(_ENGINE_BYTES + _WEIGHT_COPIES * files + _ACTIVATION_COPIES * flowing)


def _targets(bundle: Bundle, settings: Settings) -> list[Target]:
    """Where a bundle may run: the target that is named, or with `auto` any of a processor that it has a graph for."""
    if settings.target != AUTO:
        return [Target.parse(settings.target)]
    kinds = [Target.parse(f"{kind}-{settings.slot_threads}t") for kind in TARGETS if kind.startswith("cpu-")]
    return [kind for kind in kinds if kind.precision in bundle.manifest.models] or [Target.parse(PLAIN)]


def _on_gpu(settings: Settings) -> bool:
    return settings.target != AUTO and Target.parse(settings.target).on_gpu


def _largest(bundle: Bundle, settings: Settings) -> tuple[int, int]:
    """Pixels of the largest picture that a bundle takes, and of what comes of it."""
    area = bundle.manifest.scale**2
    taken = min(settings.max_pixels, settings.max_output_pixels // area)
    return taken, taken * area


def _pictures(bundles: Sequence[Bundle], settings: Settings) -> Share:
    # A picture larger than all the room goes alone.
    largest = (_largest(bundle, settings) for bundle in bundles)
    single = max(_DEEPEST_PIXEL * (taken + made) + _BAND_PIXEL * made for taken, made in largest)
    if single > settings.picture_bytes:
        return Share("pictures", single, "the largest picture, which is more than MILLISIGHT_PICTURE_BYTES")
    return Share("pictures", settings.picture_bytes, "MILLISIGHT_PICTURE_BYTES")


def _codecs(bundles: Sequence[Bundle], settings: Settings, threads: int) -> Share:
    worst = max(
        max(_DECODE_BYTES * taken, _ENCODE_BYTES * made)
        for taken, made in (_largest(bundle, settings) for bundle in bundles)
    )
    why = f"{_count(threads, 'picture')} of the largest size at work in a decoder or an encoder"
    return Share("codecs", threads * worst + _EXPRESS_PIXELS * _ENCODE_BYTES, why)


def _disk(bundles: Sequence[Bundle], settings: Settings) -> list[Share]:
    copies = sum(file.stat().st_size for bundle in bundles for file in bundle.folder.iterdir())
    shares = [
        Share("temporary", _TEMPORARY_BYTES, "metrics files and sockets"),
        Share("log", _LOG_BYTES, "what the runtime keeps of the log"),
        Share("bundles", copies, "a copy, if an init container makes one"),
    ]
    if settings.jobs == OFF:
        return shares
    if settings.jobs == "sqlite":
        return [*shares, Share("jobs", settings.job_disk_bytes, "MILLISIGHT_JOB_DISK_BYTES")]
    return shares  # jobs in Redis are on its disk


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
