"""Losses, optimisers, schedules, the trainer, checkpoints; single machine."""

from training.checkpoint import load_checkpoint, save_checkpoint
from training.errors import TrainingError
from training.losses import LOSS_TERMS, LossTerm, Objective, ObjectiveTerms, get_loss, parse_objective
from training.optimizers import OptimizerConfig, build_optimizer, clip_gradients, set_rate
from training.precision import Precision, pick_device
from training.schedule import ScheduleConfig, rate_at
from training.teacher import TaughtBatches
from training.trainer import Batches, TrainConfig, Trained, train

__all__ = [
    "LOSS_TERMS",
    "Batches",
    "LossTerm",
    "Objective",
    "ObjectiveTerms",
    "OptimizerConfig",
    "Precision",
    "ScheduleConfig",
    "TaughtBatches",
    "TrainConfig",
    "Trained",
    "TrainingError",
    "build_optimizer",
    "clip_gradients",
    "get_loss",
    "load_checkpoint",
    "parse_objective",
    "pick_device",
    "rate_at",
    "save_checkpoint",
    "set_rate",
    "train",
]
