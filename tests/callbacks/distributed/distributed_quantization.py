"""A training on two processes that quantizes weights and activations; ``distributed_training.py`` runs it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy
from small_trainings import Small, trainer

from lightning_compress import Grid, Half, Plan, QuantizeActivations, QuantizeDuringTraining, Rule
from lightning_compress.training import LearnedSteps


def train_and_quantize(folder: Path) -> None:
    """Each rank trains on its half of the data; ``rank-K.json`` has its weights, steps and ranges."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(3)
    plan = Plan(Rule("*weight*", Grid(0.1, trellis=0, rate_weight=0)), Rule("*", Half()))
    weights = QuantizeDuringTraining(plan, update="proximal", noise=0.5, learn_steps=LearnedSteps(0.05))
    inputs, module = QuantizeActivations(6), Small(width=24)
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    run = trainer(folder, weights, inputs, devices=2, strategy=strategy, max_epochs=3, enable_checkpointing=False)
    run.fit(module)
    outcome = {
        "weights": [float(parameter.detach().double().sum()) for parameter in module.parameters()],
        "steps": {name: guide.exponents.tolist() for name, guide in weights.guided_plan.guidance.items()},
        "ranges": inputs.ranges,
    }
    (folder / f"rank-{run.global_rank}.json").write_text(json.dumps(outcome))
