"""What can go wrong between weights and a bundle."""

from runtime.errors import MillisightError


class ExportError(MillisightError):
    """A network could not be exported."""


class GateError(ExportError):
    """An exported network is not good enough; the text holds the table of what was measured."""
