"""Compressed files in repositories of the Hugging Face hub: a mixin for modules, and the model card of a file."""

from lightning_compress.hub.card import model_card
from lightning_compress.hub.mixin import FILE_NAME, CompressedModelHubMixin

__all__ = ["FILE_NAME", "CompressedModelHubMixin", "model_card"]
