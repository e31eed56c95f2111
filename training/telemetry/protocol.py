"""What a run says about itself while it runs, and the listener that hears nothing."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

Stage = Literal["measure", "search", "derive", "train", "export"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class RunFacts:
    """What a run is.

    Attributes:
        run: Its id: the name of its folder.
        task: Name of the task.
        method: Name of the search method.
        target: Full slug.
        preset: Name of the preset.
        report: Path of its report, relative to the folder of all runs.
    """

    run: str
    task: str
    method: str
    target: str
    preset: str
    report: str


@dataclass(frozen=True)
class Progress:
    """Where a stage is; what it does not know is left out.

    Attributes:
        done: Steps that are done, of this part of the stage.
        total: Steps of this part in all, as far as known; at least 1.
        loss: Of the latest updates.
        learning_rate: Of the weights, at the latest update.
        validation_db: On held-out images, in dB.
        expected_seconds: Expected time of a network under the current probabilities.
        budget_seconds: What that shall come to.
        price: Of going over the budget; a pure number, at least 0.
        entropies: Choice id -> Shannon entropy in nats, from 0 to the logarithm of its candidates.
    """

    done: int
    total: int
    loss: float | None = None
    learning_rate: float | None = None
    validation_db: float | None = None
    expected_seconds: float | None = None
    budget_seconds: float | None = None
    price: float | None = None
    entropies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class NetworkSeconds:
    """Times of the network that was derived for a budget, at the budget's size.

    Attributes:
        budget: Label of the budget, for example `145ms`.
        allowed: The budget itself, in seconds.
        predicted: By the latency table, in seconds.
        measured: When it was last timed, in seconds; None for a device elsewhere.
    """

    budget: str
    allowed: float
    predicted: float
    measured: float | None


class Telemetry(Protocol):
    """Who listens to a run. Nothing that is said here changes what the run computes."""

    def running(self) -> AbstractContextManager[None]:
        """Around the whole run: leaving it in order means finished, leaving it with an exception means failed."""
        ...

    def stage(self, name: Stage, *, part: int = 0, parts: int = 1, steps: int = 0) -> AbstractContextManager[None]:
        """Around a stage, or around one part of it.

        A stage inside another (a search that a derivation asks for) gives way to the outer one when it ends.

        Args:
            name: Of the stage.
            part: Index of this part: a run with several budgets trains several networks.
            parts: How many there are, all of the same number of steps.
            steps: Of this part, for a stage that does not report any itself: none are done on the way in, and all on
                the way out.
        """
        ...

    def report(self, progress: Callable[[], Progress], *, force: bool = False) -> None:
        """Tell how the current stage goes; to be called as often as there is something new.

        Args:
            progress: Called only if somebody will hear it now, so it may cost a few milliseconds.
            force: The last word of a part: make sure that it is heard.
        """
        ...

    def network(self, times: Callable[[], NetworkSeconds]) -> None:
        """Tell what the network for a budget takes; again when it was timed again. `times` is called if heard."""
        ...


class NoTelemetry:
    """Nobody listens, and nothing is computed for it."""

    def running(self) -> AbstractContextManager[None]:
        """See `Telemetry`."""
        return nullcontext()

    def stage(
        self,
        name: Stage,  # noqa: ARG002
        *,
        part: int = 0,  # noqa: ARG002
        parts: int = 1,  # noqa: ARG002
        steps: int = 0,  # noqa: ARG002
    ) -> AbstractContextManager[None]:
        """See `Telemetry`."""
        return nullcontext()

    def report(self, progress: Callable[[], Progress], *, force: bool = False) -> None:
        """See `Telemetry`."""

    def network(self, times: Callable[[], NetworkSeconds]) -> None:
        """See `Telemetry`."""


SILENT: Telemetry = NoTelemetry()
"""What a run has that nobody listens to."""
