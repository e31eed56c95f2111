"""How one search is run."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from search.regularisers import OrderForm
from training.losses import LossTerm, ObjectiveTerms
from training.optimizers import OptimizerConfig
from training.schedule import ScheduleConfig


class SearchConfig(BaseModel):
    """One search: alternating first-order updates of weights and choices.

    Attributes:
        steps: Pairs of updates after the warm-up.
        warmup: Steps that train weights only.
        batch: Backgrounds per update.
        patch: Side of a degraded patch.
        loss: What both updates minimise; the choices see the regularisers and the complexity term too.
        versions: Show several degraded versions of each background at once (loss term `internal` compares them).
        split: Share of the training images for the weights; the rest is for the choices.
        weights: Optimiser of the weights.
        schedule: Of its learning rate, over all steps.
        clip_norm: Gradient norm limit of the weights.
        choices: Optimiser of the raw vectors.
        architecture_in_eval: Run the architecture update with the supernet in eval mode (stored batch statistics).
        explore: Probability of a uniformly drawn candidate in a weight step (one-path relaxations).
        sandwich: Where widths are searched, a weight step averages over the widest, the narrowest and so many drawn
            widths; 0 trains on the relaxation's own selection.
        entropy: Weight of the mean entropy of the relaxed weights.
        order: Weight of the order loss on exits.
        order_form: Which order loss.
        price_rate: Step of dual ascent: how fast the price of a measured or counted cost rises and falls.
        price_max: Limit of the price.
        checkpoint_every: Steps between checkpoints.
        seed: Of everything random.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    warmup: int = Field(ge=0)
    batch: int = Field(ge=1)
    patch: int = Field(ge=8)
    loss: ObjectiveTerms = (LossTerm(name="charbonnier"),)
    versions: bool = False
    split: float = Field(default=0.5, gt=0, lt=1)
    weights: OptimizerConfig = OptimizerConfig(optimizer="adam", lr=1e-3, betas=(0.9, 0.999))
    schedule: ScheduleConfig = ScheduleConfig(schedule="cosine", floor=0.1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    choices: OptimizerConfig = OptimizerConfig(optimizer="adam", lr=5e-3, betas=(0.5, 0.999))
    architecture_in_eval: bool = False
    explore: float = Field(default=0.3, ge=0, le=1)
    sandwich: int = Field(default=0, ge=0)
    entropy: float = Field(default=0.0, ge=0)
    order: float = Field(default=0.0, ge=0)
    order_form: OrderForm = "hinge"
    price_rate: float = Field(default=0.05, gt=0)
    price_max: float = Field(default=5.0, gt=0)
    checkpoint_every: int = Field(default=50, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _versions_are_compared(self) -> Self:
        if any(term.name == "internal" for term in self.loss) and not self.versions:
            raise ValueError("loss term 'internal' compares versions of a background; set versions=True")
        return self
