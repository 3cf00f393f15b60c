"""Distillation: a student learns the outputs, hidden states and attention maps of a teacher."""

from lightning_compress.training.distillation.distillation_loss import (
    AttentionLoss,
    DistillationLoss,
    HiddenLoss,
    Objectives,
)
from lightning_compress.training.distillation.initialization import initialize
from lightning_compress.training.distillation.layers import LayerChoice, choose_layers, match_layers
from lightning_compress.training.distillation.losses import (
    attention_map_loss,
    attention_transfer_loss,
    hidden_state_loss,
    normalized_state_loss,
    soft_target_loss,
)
from lightning_compress.training.distillation.outputs import Outputs, attention_map, module_named, output_tensor
from lightning_compress.training.distillation.projections import Projections

__all__ = [
    "AttentionLoss",
    "DistillationLoss",
    "HiddenLoss",
    "LayerChoice",
    "Objectives",
    "Outputs",
    "Projections",
    "attention_map",
    "attention_map_loss",
    "attention_transfer_loss",
    "choose_layers",
    "hidden_state_loss",
    "initialize",
    "match_layers",
    "module_named",
    "normalized_state_loss",
    "output_tensor",
    "soft_target_loss",
]
