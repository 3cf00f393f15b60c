"""Choosing indices, codebooks and outliers, and restoring weights from them."""

from lightning_compress.quantize.half import Half, HalfPayload
from lightning_compress.quantize.indexed import Codebook, IndexedPayload, outlier_payload
from lightning_compress.quantize.interval import FittedInterval, Interval
from lightning_compress.quantize.payload import DTYPES, Payload, StreamSpec, Words
from lightning_compress.quantize.raw import Raw, RawPayload

PAYLOADS: dict[str, type[Payload]] = {p.kind: p for p in (RawPayload, HalfPayload, IndexedPayload)}

__all__ = [
    "DTYPES",
    "PAYLOADS",
    "Codebook",
    "FittedInterval",
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
