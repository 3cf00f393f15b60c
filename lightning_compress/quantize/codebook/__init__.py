"""Quantizers with a codebook of values, for a group of tensors or scaled for each group of weights."""

from lightning_compress.quantize.codebook.binary import Binary
from lightning_compress.quantize.codebook.group_wise import GroupWise
from lightning_compress.quantize.codebook.kmeans import KMeans
from lightning_compress.quantize.codebook.logarithmic import Logarithmic
from lightning_compress.quantize.codebook.payload import CodebookPayload
from lightning_compress.quantize.codebook.ternary import Ternary

__all__ = [
    "Binary",
    "CodebookPayload",
    "GroupWise",
    "KMeans",
    "Logarithmic",
    "Ternary",
]
