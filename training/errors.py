"""What can go wrong while training."""

from tasks.errors import TaskError


class TrainingError(TaskError):
    """A run cannot be started or resumed; the text says what was found and what to do."""
