"""Compression that training takes part in: quantized weights, code lengths as a penalty, pruning, distillation losses.

Plain torch, for one process's module: a training loop calls these parts, or Lightning's hooks do
(:mod:`lightning_compress.callbacks.training`).
"""

from lightning_compress.training.activations import QuantizedInputs
from lightning_compress.training.bits_by_sensitivity import mixed_bits
from lightning_compress.training.distillation import (
    AttentionLoss,
    DistillationLoss,
    HiddenLoss,
    LayerChoice,
    Objectives,
    Outputs,
    attention_map,
    attention_map_loss,
    attention_transfer_loss,
    choose_layers,
    hidden_state_loss,
    initialize,
    match_layers,
    module_named,
    normalized_state_loss,
    output_tensor,
    soft_target_loss,
)
from lightning_compress.training.factorization import (
    FactoredConv2d,
    FactoredEmbedding,
    FactoredLinear,
    SeparableConv2d,
    factorize,
    factorize_to,
    ranks_of,
)
from lightning_compress.training.latent import LatentWeights
from lightning_compress.training.pruning.criteria import Criterion
from lightning_compress.training.pruning.grouping import Granularity, Grouping
from lightning_compress.training.pruning.masks import Masks
from lightning_compress.training.pruning.penalties import Penalty, ProximalSteps, check_penalty, learning_rates
from lightning_compress.training.pruning.schedule import Schedule, Shape
from lightning_compress.training.rate.dial import Dial
from lightning_compress.training.rate.penalty import RatePenalty, check_rate_plan, exact_bytes
from lightning_compress.training.rate.starting_plan import CalibratedStart, calibrated_start, starting_plan
from lightning_compress.training.structures import (
    Kind,
    LayerSkips,
    ResidualLayer,
    Slices,
    Structure,
    attention_heads,
    chain,
    describes,
    drop_layers,
    feed_forward,
    linear_columns,
    linear_rows,
    lstm_units,
    register_layers,
    rows,
    shrink,
    shrink_to,
    structures_of,
)
from lightning_compress.training.torchao_weights import join_quantized, split_quantized
from lightning_compress.training.updates.learned_steps import LearnedSteps
from lightning_compress.training.updates.noise import QuantNoise
from lightning_compress.training.updates.settings import StepSettings
from lightning_compress.training.updates.update import (
    PenaltyUpdate,
    ProximalUpdate,
    StraightThrough,
    Update,
    UpdateName,
)

__all__ = [
    "AttentionLoss",
    "CalibratedStart",
    "Criterion",
    "Dial",
    "DistillationLoss",
    "FactoredConv2d",
    "FactoredEmbedding",
    "FactoredLinear",
    "Granularity",
    "Grouping",
    "HiddenLoss",
    "Kind",
    "LatentWeights",
    "LayerChoice",
    "LayerSkips",
    "LearnedSteps",
    "Masks",
    "Objectives",
    "Outputs",
    "Penalty",
    "PenaltyUpdate",
    "ProximalSteps",
    "ProximalUpdate",
    "QuantNoise",
    "QuantizedInputs",
    "RatePenalty",
    "ResidualLayer",
    "Schedule",
    "SeparableConv2d",
    "Shape",
    "Slices",
    "StepSettings",
    "StraightThrough",
    "Structure",
    "Update",
    "UpdateName",
    "attention_heads",
    "attention_map",
    "attention_map_loss",
    "attention_transfer_loss",
    "calibrated_start",
    "chain",
    "check_penalty",
    "check_rate_plan",
    "choose_layers",
    "describes",
    "drop_layers",
    "exact_bytes",
    "factorize",
    "factorize_to",
    "feed_forward",
    "hidden_state_loss",
    "initialize",
    "join_quantized",
    "learning_rates",
    "linear_columns",
    "linear_rows",
    "lstm_units",
    "match_layers",
    "mixed_bits",
    "module_named",
    "normalized_state_loss",
    "output_tensor",
    "ranks_of",
    "register_layers",
    "rows",
    "shrink",
    "shrink_to",
    "soft_target_loss",
    "split_quantized",
    "starting_plan",
    "structures_of",
]
