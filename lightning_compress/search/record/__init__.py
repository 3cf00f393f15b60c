"""What a file remembers of its search, and what is made of that later."""

from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.plan_reuse import reuse
from lightning_compress.search.record.record import facts_of, record_bytes, with_record
from lightning_compress.search.record.retargeting import retarget

__all__ = [
    "Frontier",
    "facts_of",
    "record_bytes",
    "retarget",
    "reuse",
    "with_record",
]
