"""From weights and a plan to an archive: methods are fitted, tensors become payloads, payloads are coded."""

from lightning_compress.pipeline.compression import Source, assemble, compress, read_weights
from lightning_compress.pipeline.fitting import is_lossy
from lightning_compress.pipeline.payloads import CodedTensors, payloads_of

__all__ = [
    "CodedTensors",
    "Source",
    "assemble",
    "compress",
    "is_lossy",
    "payloads_of",
    "read_weights",
]
