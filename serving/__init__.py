"""HTTP over `runtime.Restorer`: pictures in, restored pictures out, errors as JSON, metrics for Prometheus.

Start it with `bentoml serve serving.service:RestorationService`. Nothing here imports torch.
"""

from serving.app import Workplace, create_app
from serving.errors import RequestError, ServingError, SettingsError
from serving.library import Library, LoadedModel
from serving.settings import Settings

__all__ = [
    "Library",
    "LoadedModel",
    "RequestError",
    "ServingError",
    "Settings",
    "SettingsError",
    "Workplace",
    "create_app",
]
