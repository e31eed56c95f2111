"""The models of a server: found, opened, ranked, warmed up, and swapped while it serves."""

from serving.models.catalogue import Catalogue, Family
from serving.models.discovery import discover
from serving.models.families import ROLES, Role
from serving.models.fleet import Fleet, Report, rehearse
from serving.models.keeper import Change, ModelKeeper
from serving.models.loaded import LoadedModel
from serving.models.routes import routes
from serving.models.shared_state import SharedState

__all__ = [
    "ROLES",
    "Catalogue",
    "Change",
    "Family",
    "Fleet",
    "LoadedModel",
    "ModelKeeper",
    "Report",
    "Role",
    "SharedState",
    "discover",
    "rehearse",
    "routes",
]
