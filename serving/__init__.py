"""HTTP over `runtime.Restorer`: pictures in, restored pictures out, errors as JSON, metrics for Prometheus.

Start it with `bentoml serve serving.service:RestorationService`. Nothing here imports torch.

service      what BentoML runs: one instance a worker
└── app      all routes
    ├── guard         before every route: ids, headers, CORS, keys, rates, bodies, JSON errors
    ├── restoring     POST /v1/<task>; options, negotiation: what is asked for
    ├── jobs          /v1/jobs: many files
    ├── models        /v1/models: loaded, swapped, ranked
    ├── metrics       /metrics
    └── openapi       /docs.json
workplace    what these share; pipeline: the way of one picture
└── scheduling        admission by predicted time, tiles of all requests on few slots
"""

from serving.app import create_app
from serving.errors import RequestError, ServingError, SettingsError
from serving.settings import Settings
from serving.workplace import Workplace

__all__ = ["RequestError", "ServingError", "Settings", "SettingsError", "Workplace", "create_app"]
