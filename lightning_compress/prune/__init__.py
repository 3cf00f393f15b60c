"""Choosing which weights become zero."""

from lightning_compress.prune.prune import Prune

__all__ = ["Prune"]
