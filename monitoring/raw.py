"""Metric families that no panel and no rule asks for, each with the reason why it is exported all the same."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["RAW"]

RAW: Mapping[str, str] = MappingProxyType({})
"""Name -> reason. A test holds it to what is true: listed is exactly what is exported and not asked for."""
