"""Runs of Weights & Biases: their configuration, and the files that are uploaded to them."""

from lightning_compress.logging.wandb_runs.artifacts import Artifacts, prune_artifacts
from lightning_compress.logging.wandb_runs.runs import configure_runs, describe_runs, runs_of
from lightning_compress.logging.wandb_runs.uploads import Uploads

__all__ = ["Artifacts", "Uploads", "configure_runs", "describe_runs", "prune_artifacts", "runs_of"]
