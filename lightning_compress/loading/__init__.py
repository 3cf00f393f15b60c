"""Loads compressed files: as tensors, as modules, and expanded to checkpoints."""

from lightning_compress.loading.allowed_classes import resolve_class
from lightning_compress.loading.expansion import as_checkpoint, expand, load
from lightning_compress.loading.left_out import tell_left_out
from lightning_compress.loading.modules import build, load_from_checkpoint

__all__ = ["as_checkpoint", "build", "expand", "load", "load_from_checkpoint", "resolve_class", "tell_left_out"]
