"""From weights and a plan to an archive: methods are fitted, tensors become payloads, payloads are coded."""

from lightning_compress.pipeline.compression import Source, assemble, compress, read_weights
from lightning_compress.pipeline.exactness import is_made_from, why_exact, with_reasons_of
from lightning_compress.pipeline.fitting import is_lossy
from lightning_compress.pipeline.payloads import CodedTensors, payloads_of

__all__ = [
    "CodedTensors",
    "Source",
    "assemble",
    "compress",
    "is_lossy",
    "is_made_from",
    "payloads_of",
    "read_weights",
    "why_exact",
    "with_reasons_of",
]
