"""Who is served, when, and whether at all: predicted costs, admission, fair and deadline-aware batches of tiles.

Scheduler            the front: check_room, predict, admit; Admission: decode, restore, encode
├── dispatcher       what begins next (pure; time from outside)
│   ├── feasibility  who makes its deadline: the bound, the invariant, why no admitted request is late
│   ├── machine      how slots and codecs share the cores
│   ├── fairness     equal shares of the slots
│   └── room         memory for decoded pictures
├── workers          threads; execution: one batch; priority: below the event loop
├── observer         who is told of decisions, batches and late requests
└── costs, codecs    what tiles, decoding and encoding cost: records, calibration, drift
"""

from serving.scheduling.admission import Admission
from serving.scheduling.codecs import CodecCosts
from serving.scheduling.costs import TileCosts
from serving.scheduling.errors import DeadlineUnattainableError, QueueFullError
from serving.scheduling.interfaces import Demand, Model, Restoration
from serving.scheduling.observer import NOBODY, Observer
from serving.scheduling.priority import call_lowered, lower_priority
from serving.scheduling.scheduler import Scheduler
from serving.scheduling.stats import Stats

__all__ = [
    "NOBODY",
    "Admission",
    "CodecCosts",
    "DeadlineUnattainableError",
    "Demand",
    "Model",
    "Observer",
    "QueueFullError",
    "Restoration",
    "Scheduler",
    "Stats",
    "TileCosts",
    "call_lowered",
    "lower_priority",
]
