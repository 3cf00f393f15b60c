"""Compression that training takes part in: quantized weights, code lengths as a penalty, masks, distillation losses.

Plain torch, for one process's module: a training loop calls these parts, or Lightning's hooks do
(:mod:`lightning_compress.callbacks.training`).
"""

from lightning_compress.training.distillation import Outputs, hidden_state_loss, output_tensor, soft_target_loss
from lightning_compress.training.groups import Granularity, Grouping
from lightning_compress.training.latent import LatentWeights
from lightning_compress.training.masks import Criterion, Masks
from lightning_compress.training.rate.dial import Dial
from lightning_compress.training.rate.penalty import RatePenalty, check_rate_plan
from lightning_compress.training.rate.starting_plan import starting_plan
from lightning_compress.training.schedule import Schedule, Shape

__all__ = [
    "Criterion",
    "Dial",
    "Granularity",
    "Grouping",
    "LatentWeights",
    "Masks",
    "Outputs",
    "RatePenalty",
    "Schedule",
    "Shape",
    "check_rate_plan",
    "hidden_state_loss",
    "output_tensor",
    "soft_target_loss",
    "starting_plan",
]
