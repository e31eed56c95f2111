"""A bundle on a target: engines, timing, pictures, tiles, and the `Restorer` that joins them. Never imports torch."""

from runtime.auto import Choice, choose_target
from runtime.bundle import Bundle, find_bundles
from runtime.bundle_writer import copy_bundle, write_bundle
from runtime.clock import Clock, ClockName, clock_for
from runtime.conditions import device_name, read_conditions
from runtime.cuda import CudaStatus, cuda_status
from runtime.engine import Engine, engine_version, open_engine
from runtime.errors import BundleError, EngineError, FallbackWarning, ImageError, MillisightError, TargetError
from runtime.host import HostInfo, describe_host, usable_cores
from runtime.image import (
    ImageLimits,
    Picture,
    PictureInfo,
    decode_image,
    encode_image,
    peek_image,
    read_image,
    write_image,
)
from runtime.manifest import Manifest
from runtime.records import Card, EngineRecord, LatencyRecord, Lineage, QualityRecord, SpeedRecord, StepRecord
from runtime.restoration import TiledRestoration
from runtime.restorer import Restorer
from runtime.stitch import run_tiled
from runtime.target import Target, TargetStatus, list_targets
from runtime.tiles import SizeContract, Tile, plan_tiles
from runtime.timing import AnchorTiming, StabilityRule, Timing, time_interleaved

__all__ = [
    "AnchorTiming",
    "Bundle",
    "BundleError",
    "Card",
    "Choice",
    "Clock",
    "ClockName",
    "CudaStatus",
    "Engine",
    "EngineError",
    "EngineRecord",
    "FallbackWarning",
    "HostInfo",
    "ImageError",
    "ImageLimits",
    "LatencyRecord",
    "Lineage",
    "Manifest",
    "MillisightError",
    "Picture",
    "PictureInfo",
    "QualityRecord",
    "Restorer",
    "SizeContract",
    "SpeedRecord",
    "StabilityRule",
    "StepRecord",
    "Target",
    "TargetError",
    "TargetStatus",
    "Tile",
    "TiledRestoration",
    "Timing",
    "choose_target",
    "clock_for",
    "copy_bundle",
    "cuda_status",
    "decode_image",
    "describe_host",
    "device_name",
    "encode_image",
    "engine_version",
    "find_bundles",
    "list_targets",
    "open_engine",
    "peek_image",
    "plan_tiles",
    "read_conditions",
    "read_image",
    "run_tiled",
    "time_interleaved",
    "usable_cores",
    "write_bundle",
    "write_image",
]
