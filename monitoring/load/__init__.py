"""Pictures sent to a running service as strangers would send them, and what came of it.

Needs httpx, numpy and Pillow, so it runs wherever the service itself does.
"""

from monitoring.load.answers import Answer, Summary, Times, summarise
from monitoring.load.offers import LoadError, Offer, offers
from monitoring.load.pictures import BAD_FILES, FORMATS, Body, photo, picture_bodies
from monitoring.load.sending import LoadPlan, send

__all__ = [
    "BAD_FILES",
    "FORMATS",
    "Answer",
    "Body",
    "LoadError",
    "LoadPlan",
    "Offer",
    "Summary",
    "Times",
    "offers",
    "photo",
    "picture_bodies",
    "send",
    "summarise",
]
