"""Loads compressed files: as tensors, as modules, and expanded to checkpoints."""

from lightning_compress.loading.classes.allowed_classes import resolve_class
from lightning_compress.loading.cli_mixin import CompressedCLIMixin
from lightning_compress.loading.expansion import expand, load
from lightning_compress.loading.installed_lightning import lightning_version
from lightning_compress.loading.left_out import tell_left_out
from lightning_compress.loading.lightning_mixin import LoadCompressedMixin
from lightning_compress.loading.modules import build, load_from_checkpoint
from lightning_compress.loading.state import load_weights
from lightning_compress.loading.stored_module import StoredModule

__all__ = [
    "CompressedCLIMixin",
    "LoadCompressedMixin",
    "StoredModule",
    "build",
    "expand",
    "lightning_version",
    "load",
    "load_from_checkpoint",
    "load_weights",
    "resolve_class",
    "tell_left_out",
]
