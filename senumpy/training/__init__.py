"""Training: optimiser, schedules, loop, checkpoints, and whole runs in a folder.

>>> from senumpy.training import cosine, warm_up
>>> schedule = warm_up(cosine(0.1, steps=100), steps=4)
>>> [round(schedule(t), 3) for t in (0, 3, 50, 100)]
[0.025, 0.1, 0.05, 0.0]
"""

from __future__ import annotations

from senumpy.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from senumpy.training.config import TrainConfig, load_config
from senumpy.training.curves import draw_curves
from senumpy.training.errors import TrainingError
from senumpy.training.evaluate import Tally, evaluate
from senumpy.training.interrupt import Interrupted
from senumpy.training.run import Summary, resume_run, start_run
from senumpy.training.schedules import constant, cosine, make_schedule, step_decay, warm_up
from senumpy.training.sgd import SGD
from senumpy.training.testing import Evaluation, evaluate_checkpoint
from senumpy.training.trainer import EpochMetrics, Position, Trainer

__all__ = [
    "SGD",
    "Checkpoint",
    "EpochMetrics",
    "Evaluation",
    "Interrupted",
    "Position",
    "Summary",
    "Tally",
    "TrainConfig",
    "Trainer",
    "TrainingError",
    "constant",
    "cosine",
    "draw_curves",
    "evaluate",
    "evaluate_checkpoint",
    "load_checkpoint",
    "load_config",
    "make_schedule",
    "resume_run",
    "save_checkpoint",
    "start_run",
    "step_decay",
    "warm_up",
]
