"""Low rank in training: modules whose weights are products of two factors, and the ranks of these."""

from lightning_compress.training.factorization.modules import FactoredConv2d, FactoredEmbedding, FactoredLinear
from lightning_compress.training.factorization.replacing import factorize, factorize_to, ranks_of
from lightning_compress.training.factorization.separable import SeparableConv2d

__all__ = [
    "FactoredConv2d",
    "FactoredEmbedding",
    "FactoredLinear",
    "SeparableConv2d",
    "factorize",
    "factorize_to",
    "ranks_of",
]
