"""Lightning callbacks: a compressed file beside every checkpoint, what it is worth, and what each layer bears."""

from lightning_compress.callbacks.batch_losses import mean_loss
from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.reconciliation import Reconciled, reconcile
from lightning_compress.callbacks.sensitivity import LayerSensitivity
from lightning_compress.callbacks.translation_quality import TranslationQuality

__all__ = ["CompressCheckpoint", "LayerSensitivity", "Reconciled", "TranslationQuality", "mean_loss", "reconcile"]
