"""Modules and checkpoints from compressed files."""

from lightning_compress.loading.allowed_classes import resolve_class
from lightning_compress.loading.expansion import as_checkpoint, expand, load
from lightning_compress.loading.modules import build, load_from_checkpoint

__all__ = ["as_checkpoint", "build", "expand", "load", "load_from_checkpoint", "resolve_class"]
