"""Lightning callbacks: a compressed file beside every checkpoint, and what compression costs in each layer."""

from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.reconcile import Reconciled, reconcile
from lightning_compress.callbacks.sensitivity import LayerSensitivity

__all__ = ["CompressCheckpoint", "LayerSensitivity", "Reconciled", "reconcile"]
