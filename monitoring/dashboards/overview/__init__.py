"""*Restoration overview*: how many requests, how many go wrong, how long do they take, and what is full?"""

from __future__ import annotations

from monitoring.dashboards.board import Board
from monitoring.dashboards.marks import FIRING, MODEL_LOADED
from monitoring.dashboards.overview.glance import AT_A_GLANCE
from monitoring.dashboards.overview.machine import GPU, JOBS, PROCESSES
from monitoring.dashboards.overview.pictures import MODELS, PICTURES
from monitoring.dashboards.overview.requests import REQUESTS, STAGES
from monitoring.dashboards.overview.saturation import SATURATION
from monitoring.dashboards.variables import DOCS, MODEL_OF_TASK, TASK

__all__ = ["OVERVIEW"]

OVERVIEW = Board(
    slug="overview",
    uid="millisight-overview",
    title="Restoration overview",
    description="How many requests, how many go wrong, how long do they take, and what is full?",
    variables=(TASK, MODEL_OF_TASK, DOCS),
    sections=(AT_A_GLANCE, REQUESTS, STAGES, SATURATION, PICTURES, MODELS, JOBS, PROCESSES, GPU),
    annotations=(FIRING, MODEL_LOADED),
)
