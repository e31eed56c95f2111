"""How a run tells Prometheus how it goes: nothing by default, a textfile or a Pushgateway where asked for.

The parts that need prometheus_client (`sinks`, `run_metrics`) are imported only by who names a place for metrics.
"""

from training.telemetry.catalogue import Family, families
from training.telemetry.errors import TelemetryError
from training.telemetry.protocol import (
    SILENT,
    STAGES,
    NetworkSeconds,
    NoTelemetry,
    Progress,
    RunFacts,
    Stage,
    Telemetry,
)

__all__ = [
    "SILENT",
    "STAGES",
    "Family",
    "NetworkSeconds",
    "NoTelemetry",
    "Progress",
    "RunFacts",
    "Stage",
    "Telemetry",
    "TelemetryError",
    "families",
]
