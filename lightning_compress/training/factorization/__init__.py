"""Low rank in training: modules whose weights are products of two factors, and the ranks of these."""

from lightning_compress.training.factorization.modules import FactoredConv2d, FactoredEmbedding, FactoredLinear
from lightning_compress.training.factorization.replacing import factorize, factorize_to, ranks_of

__all__ = [
    "FactoredConv2d",
    "FactoredEmbedding",
    "FactoredLinear",
    "factorize",
    "factorize_to",
    "ranks_of",
]
