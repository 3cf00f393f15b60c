"""Payloads made of other payloads: two factors of a matrix, and the values between zeros."""

from lightning_compress.quantize.composite.factored import FactoredPayload
from lightning_compress.quantize.composite.low_rank import LowRank, Spectrum
from lightning_compress.quantize.composite.sparse import SparsePayload
from lightning_compress.quantize.composite.sparse_candidates import sparse_forms

__all__ = [
    "FactoredPayload",
    "LowRank",
    "SparsePayload",
    "Spectrum",
    "sparse_forms",
]
