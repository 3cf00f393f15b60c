"""What a file records of its search, and its later uses.

:mod:`.manifest_metrics` writes the record and :mod:`.frontier` is the part of it that has the best trials.
:mod:`.plan_reuse` tries the plan on newer weights; :mod:`.retargeting` scales it to another size.
"""

from lightning_compress.search.record.frontier import Frontier, FrontierPoint, pareto_frontier
from lightning_compress.search.record.manifest_metrics import reserved_bytes, search_metrics, with_search_metrics
from lightning_compress.search.record.plan_reuse import reuse
from lightning_compress.search.record.retargeting import retarget

__all__ = [
    "Frontier",
    "FrontierPoint",
    "pareto_frontier",
    "reserved_bytes",
    "retarget",
    "reuse",
    "search_metrics",
    "with_search_metrics",
]
