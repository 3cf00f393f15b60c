"""Lightning callbacks: a compressed file beside every checkpoint."""

from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.reconcile import Reconciled, reconcile

__all__ = ["CompressCheckpoint", "Reconciled", "reconcile"]
