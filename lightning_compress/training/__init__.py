"""Compression that training takes part in: quantized weights, code lengths as a penalty, masks, distillation losses.

Plain torch, for one process's module: a training loop calls these parts, or Lightning's hooks do
(:mod:`lightning_compress.callbacks.training`).
"""

from lightning_compress.training.distillation import Outputs, hidden_state_loss, output_tensor, soft_target_loss
from lightning_compress.training.latent import LatentWeights
from lightning_compress.training.rate.dial import Dial
from lightning_compress.training.rate.penalty import RatePenalty, check_rate_plan

__all__ = [
    "Dial",
    "LatentWeights",
    "Outputs",
    "RatePenalty",
    "check_rate_plan",
    "hidden_state_loss",
    "output_tensor",
    "soft_target_loss",
]
