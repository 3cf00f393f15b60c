"""The paper's interval quantization: an index for each weight inside the interval, others as outliers."""

from lightning_compress.quantize.interval.indexed_payloads import payload_from_indices, store_pruned
from lightning_compress.quantize.interval.interval import FittedInterval, Interval, Restore
from lightning_compress.quantize.interval.payload import Codebook, IndexedPayload

__all__ = [
    "Codebook",
    "FittedInterval",
    "IndexedPayload",
    "Interval",
    "Restore",
    "payload_from_indices",
    "store_pruned",
]
