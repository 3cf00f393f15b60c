"""The paper's interval quantization: an index for each weight inside the interval, others as outliers."""

from lightning_compress.quantize.interval.indexing import index, index_pruned
from lightning_compress.quantize.interval.interval import FittedInterval, Interval, Restore
from lightning_compress.quantize.interval.payload import Codebook, IndexedPayload

__all__ = [
    "Codebook",
    "FittedInterval",
    "IndexedPayload",
    "Interval",
    "Restore",
    "index",
    "index_pruned",
]
