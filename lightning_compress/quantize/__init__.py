"""Choosing indices, codebooks and outliers, and restoring weights from them."""

from lightning_compress.quantize.contexts import Classes
from lightning_compress.quantize.grid_payload import GridPayload
from lightning_compress.quantize.half import Half, HalfPayload
from lightning_compress.quantize.indexed import Codebook, IndexedPayload, outlier_payload
from lightning_compress.quantize.interval import FittedInterval, Interval
from lightning_compress.quantize.payload import DTYPES, Payload, StreamSpec, Words
from lightning_compress.quantize.raw import Raw, RawPayload

PAYLOADS: dict[str, type[Payload]] = {p.kind: p for p in (RawPayload, HalfPayload, IndexedPayload, GridPayload)}

__all__ = [
    "DTYPES",
    "PAYLOADS",
    "Classes",
    "Codebook",
    "FittedInterval",
    "GridPayload",
    "Half",
    "HalfPayload",
    "IndexedPayload",
    "Interval",
    "Payload",
    "Raw",
    "RawPayload",
    "StreamSpec",
    "Words",
    "outlier_payload",
]
