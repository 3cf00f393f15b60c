"""The k smallest magnitudes of many tensors, found exactly, without sorting or concatenating them."""

from lightning_compress.weights.magnitude.cut import Cut
from lightning_compress.weights.magnitude.keys import SIGNED_WORDS, key_of, magnitude_keys, needs_double
from lightning_compress.weights.magnitude.pruned import PrunedTensor
from lightning_compress.weights.magnitude.smallest import smallest_magnitudes

__all__ = ["SIGNED_WORDS", "Cut", "PrunedTensor", "key_of", "magnitude_keys", "needs_double", "smallest_magnitudes"]
