"""Requests about models that are refused."""

from __future__ import annotations

from serving.errors import RequestError

__all__ = ["BundleRefusedError"]


class BundleRefusedError(RequestError):
    """The bundle that was asked to be loaded cannot be served as it lies on the disk."""

    status, code, reason = 409, "bundle_refused", "bad_bundle"
