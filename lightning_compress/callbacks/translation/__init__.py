"""The callback for translation models: BLEU and chrF of the exact and of the compressed weights."""

from lightning_compress.callbacks.translation.translation_quality import TranslationQuality

__all__ = ["TranslationQuality"]
