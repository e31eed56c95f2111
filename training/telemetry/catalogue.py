"""Every metric family that a run exports, as data: dashboards, rules and documentation are checked against it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Family:
    """One metric family.

    Attributes:
        name: As it is exposed.
        kind: Of its values; those of a run are all levels.
        labels: Names of its labels, in order.
        help: One line for people.
    """

    name: str
    kind: Literal["gauge"]
    labels: tuple[str, ...]
    help: str


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name, "gauge", ("run", *labels), text)


RUN_INFO = _gauge(
    "millisight_run_info",
    "What a run is; report is the path of its report in the folder of all runs. Always 1.",
    "task", "method", "target", "preset", "report",
)  # fmt: skip
START_TIME = _gauge(
    "millisight_run_start_time_seconds", "When the run was started, or was last resumed, in seconds since 1970."
)
UPDATE_TIME = _gauge("millisight_run_update_time_seconds", "When the run last told how it goes, in seconds since 1970.")
RUN_STAGE = _gauge(
    "millisight_run_stage", "1 for the stage that the run is in, or failed in, 0 for the others.", "stage"
)
STEPS_DONE = _gauge(
    "millisight_run_steps_done",
    "Steps of a stage that are done: batches of timings, updates, or networks. "
    "Absent for a stage that this sitting of the run did not need.",
    "stage",
)
STEPS = _gauge("millisight_run_steps", "Steps of a stage in all, as far as known.", "stage")
LOSS = _gauge(
    "millisight_loss",
    "Loss of the latest update (search), or mean since the last checkpoint (train).",
    "stage",
)
LEARNING_RATE = _gauge("millisight_learning_rate", "Learning rate of the weights at the latest update.", "stage")
VALIDATION_DB = _gauge(
    "millisight_validation_db",
    "PSNR of the finished bundle on held-out images, in dB; of several networks the one checked last.",
    "stage",
)
EXPECTED_SECONDS = _gauge(
    "millisight_search_expected_seconds",
    "Expected time of a network under the current probabilities of its candidates, at the size of the budget.",
)
BUDGET_SECONDS = _gauge(
    "millisight_search_budget_seconds",
    "What the search aims at, at the size of the budget; of several budgets their geometric mean.",
)
PRICE = _gauge(
    "millisight_search_price",
    "Price of going over the budget (multiplier of the dual ascent). Absent where the search pays no such price.",
)
CHOICE_ENTROPY = _gauge(
    "millisight_search_choice_entropy_nats",
    "Shannon entropy of a choice: the logarithm of its candidates while all are alike, 0 once it is sure.",
    "choice",
)
NETWORK_PREDICTED = _gauge(
    "millisight_network_predicted_seconds", "What the latency table says of the network for a budget.", "budget"
)
NETWORK_MEASURED = _gauge(
    "millisight_network_measured_seconds",
    "What the network for a budget took when it was last timed. Absent where it cannot be timed here.",
    "budget",
)
NETWORK_BUDGET = _gauge("millisight_network_budget_seconds", "The budget itself.", "budget")
FINISHED = _gauge("millisight_run_finished", "1 once the run is finished.")
FAILED = _gauge("millisight_run_failed", "1 if the run ended before it was finished, by an error or interrupted.")

_FAMILIES = (
    RUN_INFO,
    START_TIME,
    UPDATE_TIME,
    RUN_STAGE,
    STEPS_DONE,
    STEPS,
    LOSS,
    LEARNING_RATE,
    VALIDATION_DB,
    EXPECTED_SECONDS,
    BUDGET_SECONDS,
    PRICE,
    CHOICE_ENTROPY,
    NETWORK_PREDICTED,
    NETWORK_MEASURED,
    NETWORK_BUDGET,
    FINISHED,
    FAILED,
)


def families() -> tuple[Family, ...]:
    """Everything that a run may export, under the names and labels that a scrape shows."""
    return _FAMILIES
