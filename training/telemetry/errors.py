"""What can go wrong before a run that shall tell how it goes begins."""

from training.errors import TrainingError


class TelemetryError(TrainingError):
    """The place that was named for metrics cannot take them; the text says what to do."""
