"""Reads checkpoints of many origins, without running any code that they name."""

from lightning_compress.weights.reading.checkpoint import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
