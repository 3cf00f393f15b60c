"""Lightning callbacks: a compressed file beside every checkpoint, its quality, and the sensitivity of each layer."""

from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.hooks.batch_losses import mean_loss
from lightning_compress.callbacks.reconciliation import Reconciled, reconcile
from lightning_compress.callbacks.sensitivity import LayerSensitivity
from lightning_compress.callbacks.translation import TranslationQuality

__all__ = ["CompressCheckpoint", "LayerSensitivity", "Reconciled", "TranslationQuality", "mean_loss", "reconcile"]
