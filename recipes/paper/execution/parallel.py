"""Distributes the parts of experiments over processes with Lightning's launcher; the cache collects the results."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from lightning_fabric import Fabric
from torch.multiprocessing.spawn import ProcessRaisedException

from recipes.errors import ExperimentError
from recipes.paper.execution.progress import progress_bar
from recipes.paper.experiments import EXPERIMENTS
from recipes.paper.measurement.context import experiment_context
from recipes.paper.settings import Settings


def measure_in_parallel(settings: Settings, names: Sequence[str], *, devices: int, quiet: bool = False) -> None:
    """Measure the points of experiments in several processes, each with the model on a GPU of its own, or on the CPU.

    Args:
        settings: model, text, folder and choices.
        names: of the experiments.
        devices: how many processes.
        quiet: whether to show no progress; only that of the first process is shown.

    Raises:
        ExperimentError: there are fewer GPUs than devices, or a process failed.
    """
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and torch.cuda.device_count() < devices:
        raise ExperimentError(f"--devices is {devices}: this machine has {torch.cuda.device_count()} GPUs")
    fabric = Fabric(accelerator=accelerator, devices=devices, strategy="ddp_spawn")
    try:
        fabric.launch(partial(_share, settings=settings, names=tuple(names), quiet=quiet))
    except ProcessRaisedException as error:
        reason = str(error).strip().splitlines()[-1]
        raise ExperimentError(f"one of {devices} processes failed: {reason}") from error


def _share(fabric: Fabric, *, settings: Settings, names: Sequence[str], quiet: bool) -> None:
    """Run the share of one process of the parts of each experiment."""
    with (
        progress_bar(quiet=quiet or fabric.global_rank > 0) as bar,
        experiment_context(settings, device=fabric.device, on_point=bar.describe) as context,
    ):
        for experiment in (each for name in names for each in EXPERIMENTS[name]):
            share = experiment.parts(context)[fabric.global_rank :: fabric.world_size]
            bar.start(experiment.name, len(share))
            for part in share:
                part(context)
                bar.advance()
