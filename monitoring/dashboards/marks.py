"""What is marked on the graphs of several dashboards."""

from __future__ import annotations

from monitoring.dashboards.board import Annotation
from monitoring.dashboards.expressions import select

__all__ = ["FIRING", "FIRING_ALERTS", "MODEL_LOADED", "OURS"]

OURS = 'alertname=~"Restore.+|Millisight.+"'
"""Label matcher of the alerts that are in this repository."""

FIRING_ALERTS = select("ALERTS", OURS, 'alertstate="firing"')
"""The series of those that fire."""

FIRING = Annotation("Alert", f"max by (alertname, severity) ({FIRING_ALERTS})", "red")
"""As long as an alert fires."""

# Another digest under the same name is a mark too: for a minute it is there and was not before.
_BYTES = "max by (model, target, sha256) (restore_model_info == 1)"
_BEFORE = "max by (model, target, sha256) (restore_model_info offset 1m == 1)"

MODEL_LOADED = Annotation("Model loaded", f"max by (model, target) ({_BYTES} unless {_BEFORE})", "blue")
"""When a model, or other bytes of it, came."""
