"""Folders that ``torch.distributed.checkpoint`` wrote, read without running code and without a process group."""

from lightning_compress.weights.reading.distributed.checkpoint import read_distributed
from lightning_compress.weights.reading.distributed.folder import METADATA

__all__ = ["METADATA", "read_distributed"]
