"""Choosing indices, codebooks and outliers, and restoring weights from them."""

from lightning_compress.quantize.contexts import Classes
from lightning_compress.quantize.grid import FittedGrid, Grid, GridGuide
from lightning_compress.quantize.grid_payload import GridPayload
from lightning_compress.quantize.half import Half, HalfPayload
from lightning_compress.quantize.indexed import Codebook, IndexedPayload
from lightning_compress.quantize.indexing import index_pruned
from lightning_compress.quantize.interval import FittedInterval, Interval
from lightning_compress.quantize.low_rank import LowRank
from lightning_compress.quantize.payload import DTYPES, Payload, StreamSpec, Words
from lightning_compress.quantize.quantizer import FittedQuantizer, Quantizer, Storage
from lightning_compress.quantize.raw import Raw, RawPayload

PAYLOADS: dict[str, type[Payload]] = {p.kind: p for p in (RawPayload, HalfPayload, IndexedPayload, GridPayload)}

__all__ = [
    "DTYPES",
    "PAYLOADS",
    "Classes",
    "Codebook",
    "FittedGrid",
    "FittedInterval",
    "FittedQuantizer",
    "Grid",
    "GridGuide",
    "GridPayload",
    "Half",
    "HalfPayload",
    "IndexedPayload",
    "Interval",
    "LowRank",
    "Payload",
    "Quantizer",
    "Raw",
    "RawPayload",
    "Storage",
    "StreamSpec",
    "Words",
    "index_pruned",
]
