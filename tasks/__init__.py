"""What each restoration task is: its degradation, its images, its batches and how it is scored. Never imports torch."""

from tasks.batches import BatchStream, ValidationPair, validation_pair, validation_pairs
from tasks.degradation import Downscale, Noise, Rain
from tasks.errors import TaskError
from tasks.evaluate import Quality, evaluate
from tasks.leaves import dead_leaves
from tasks.metrics import psnr, ssim
from tasks.noise import add_noise
from tasks.rain import RAIN_PRESETS, RainParameters, add_rain, rain_layer
from tasks.resize import imresize
from tasks.sources import ImageSet, Sample, embedded_photographs, load_data
from tasks.task import TASKS, Task, get_task

__all__ = [
    "RAIN_PRESETS",
    "TASKS",
    "BatchStream",
    "Downscale",
    "ImageSet",
    "Noise",
    "Quality",
    "Rain",
    "RainParameters",
    "Sample",
    "Task",
    "TaskError",
    "ValidationPair",
    "add_noise",
    "add_rain",
    "dead_leaves",
    "embedded_photographs",
    "evaluate",
    "get_task",
    "imresize",
    "load_data",
    "psnr",
    "rain_layer",
    "ssim",
    "validation_pair",
    "validation_pairs",
]
