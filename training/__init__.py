"""Losses, the trainer, checkpoints; single machine."""

from training.checkpoint import load_checkpoint, save_checkpoint
from training.errors import TrainingError
from training.losses import LOSSES, get_loss
from training.precision import Precision, pick_device
from training.trainer import TrainConfig, Trained, train

__all__ = [
    "LOSSES",
    "Precision",
    "TrainConfig",
    "Trained",
    "TrainingError",
    "get_loss",
    "load_checkpoint",
    "pick_device",
    "save_checkpoint",
    "train",
]
