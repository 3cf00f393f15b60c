"""How often each word of a stream occurs."""

from lightning_compress.coding.counting.words import occurrences

__all__ = ["occurrences"]
