"""Choosing indices, codebooks and outliers, and restoring weights from them."""

from collections.abc import Mapping

from lightning_compress.quantize.codebook.binary import Binary
from lightning_compress.quantize.codebook.group_wise import GroupWise
from lightning_compress.quantize.codebook.kmeans import KMeans
from lightning_compress.quantize.codebook.logarithmic import Logarithmic
from lightning_compress.quantize.codebook.payload import CodebookPayload
from lightning_compress.quantize.codebook.payload_from_codes import payload_from_codes
from lightning_compress.quantize.codebook.ternary import Ternary
from lightning_compress.quantize.composite.factored import FactoredPayload
from lightning_compress.quantize.composite.low_rank import LowRank, Spectrum
from lightning_compress.quantize.composite.nestable_payloads import NESTABLE_PAYLOADS
from lightning_compress.quantize.composite.sparse import SparsePayload
from lightning_compress.quantize.composite.sparse_candidates import sparse_forms
from lightning_compress.quantize.grid.contexts import Classes
from lightning_compress.quantize.grid.grid import FittedGrid, Grid
from lightning_compress.quantize.grid.guide import GridGuide
from lightning_compress.quantize.grid.matrix import matrix_shape, row_scales
from lightning_compress.quantize.grid.payload import GridPayload
from lightning_compress.quantize.grid.row_feedback import row_spread
from lightning_compress.quantize.grid.trellis.feedback import feedback_factor
from lightning_compress.quantize.interval.indexed_payloads import payload_from_indices, store_pruned
from lightning_compress.quantize.interval.interval import FittedInterval, Interval, Restore
from lightning_compress.quantize.interval.payload import Codebook, IndexedPayload
from lightning_compress.quantize.payload import DTYPES, FLOATS, NonZeros, Payload, StreamSpec, Words
from lightning_compress.quantize.plain.half import Half, HalfPayload
from lightning_compress.quantize.plain.raw import Raw, RawPayload
from lightning_compress.quantize.quantizer import FittedQuantizer, Quantizer, Storage, restored, with_outliers

# Every kind of payload that a file may hold. Like NESTABLE_PAYLOADS it takes no entry points: a reader depends on no
# other package.
PAYLOADS: Mapping[str, type[Payload]] = {
    **NESTABLE_PAYLOADS,
    **{payload.kind: payload for payload in (GridPayload, SparsePayload, FactoredPayload)},
}

__all__ = [
    "DTYPES",
    "FLOATS",
    "NESTABLE_PAYLOADS",
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
    "NonZeros",
    "Payload",
    "Quantizer",
    "Raw",
    "RawPayload",
    "Restore",
    "SparsePayload",
    "Spectrum",
    "Storage",
    "StreamSpec",
    "Ternary",
    "Words",
    "feedback_factor",
    "matrix_shape",
    "payload_from_codes",
    "payload_from_indices",
    "restored",
    "row_scales",
    "row_spread",
    "sparse_forms",
    "store_pruned",
    "with_outliers",
]
