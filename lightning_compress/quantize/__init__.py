"""Choosing indices, codebooks and outliers, and restoring weights from them."""

from lightning_compress.quantize.binary import Binary
from lightning_compress.quantize.codebook import CodebookPayload
from lightning_compress.quantize.contexts import Classes
from lightning_compress.quantize.factored import FactoredPayload
from lightning_compress.quantize.feedback import feedback_factor
from lightning_compress.quantize.grid import FittedGrid, Grid, GridGuide
from lightning_compress.quantize.grid_matrix import matrix_shape
from lightning_compress.quantize.grid_payload import GridPayload
from lightning_compress.quantize.group_wise import GroupWise
from lightning_compress.quantize.half import Half, HalfPayload
from lightning_compress.quantize.indexed import Codebook, IndexedPayload
from lightning_compress.quantize.indexing import index_pruned
from lightning_compress.quantize.interval import FittedInterval, Interval
from lightning_compress.quantize.kmeans import KMeans
from lightning_compress.quantize.logarithmic import Logarithmic
from lightning_compress.quantize.low_rank import LowRank
from lightning_compress.quantize.payload import DTYPES, FLOATS, Payload, StreamSpec, Words
from lightning_compress.quantize.quantizer import FittedQuantizer, Quantizer, Storage
from lightning_compress.quantize.raw import Raw, RawPayload
from lightning_compress.quantize.row_feedback import row_spread
from lightning_compress.quantize.sparse import SparsePayload
from lightning_compress.quantize.sparse_forms import sparse_forms
from lightning_compress.quantize.ternary import Ternary

PAYLOADS: dict[str, type[Payload]] = {
    p.kind: p
    for p in (RawPayload, HalfPayload, IndexedPayload, GridPayload, CodebookPayload, SparsePayload, FactoredPayload)
}

__all__ = [
    "DTYPES",
    "FLOATS",
    "PAYLOADS",
    "Binary",
    "Classes",
    "Codebook",
    "CodebookPayload",
    "FactoredPayload",
    "FittedGrid",
    "FittedInterval",
    "FittedQuantizer",
    "Grid",
    "GridGuide",
    "GridPayload",
    "GroupWise",
    "Half",
    "HalfPayload",
    "IndexedPayload",
    "Interval",
    "KMeans",
    "Logarithmic",
    "LowRank",
    "Payload",
    "Quantizer",
    "Raw",
    "RawPayload",
    "SparsePayload",
    "Storage",
    "StreamSpec",
    "Ternary",
    "Words",
    "feedback_factor",
    "index_pruned",
    "matrix_shape",
    "row_spread",
    "sparse_forms",
]
