"""From weights and a plan to an archive: methods are fitted, tensors become payloads, payloads are coded."""

from lightning_compress.compression.coded_tensors import CodedTensors
from lightning_compress.compression.exactness import fingerprint_of, is_made_from, why_exact, with_reasons_of
from lightning_compress.compression.fabric import save_compressed
from lightning_compress.compression.fitting import is_lossy
from lightning_compress.compression.guided_plan import GuidedPlan
from lightning_compress.compression.payloads import CodedTensor, TensorWork, payloads_of
from lightning_compress.compression.pipeline import Source, assemble, compress, compress_together
from lightning_compress.compression.sources import checkpoint_at, read_weights

__all__ = [
    "CodedTensor",
    "CodedTensors",
    "GuidedPlan",
    "Source",
    "TensorWork",
    "assemble",
    "checkpoint_at",
    "compress",
    "compress_together",
    "fingerprint_of",
    "is_lossy",
    "is_made_from",
    "payloads_of",
    "read_weights",
    "save_compressed",
    "why_exact",
    "with_reasons_of",
]
