"""Lightning callbacks: a compressed file beside every checkpoint, and what it is worth."""

from lightning_compress.callbacks.checkpoint import CompressCheckpoint
from lightning_compress.callbacks.reconcile import Reconciled, reconcile
from lightning_compress.callbacks.translation_quality import TranslationQuality

__all__ = ["CompressCheckpoint", "Reconciled", "TranslationQuality", "reconcile"]
