"""A small, verified, pickle-free file beside every PyTorch Lightning checkpoint.

Public names are imported on first use, so reading a file imports neither Lightning nor wandb.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_compress.garbage import collection_paused

if TYPE_CHECKING:
    from lightning_compress.archive import Archive as Archive
    from lightning_compress.callbacks import CompressCheckpoint as CompressCheckpoint
    from lightning_compress.callbacks import CompressedCheckpointIO as CompressedCheckpointIO
    from lightning_compress.callbacks import Distill as Distill
    from lightning_compress.callbacks import LayerDrop as LayerDrop
    from lightning_compress.callbacks import LayerSensitivity as LayerSensitivity
    from lightning_compress.callbacks import ProximalPenalty as ProximalPenalty
    from lightning_compress.callbacks import PruneDuringTraining as PruneDuringTraining
    from lightning_compress.callbacks import QuantizeActivations as QuantizeActivations
    from lightning_compress.callbacks import QuantizeDuringTraining as QuantizeDuringTraining
    from lightning_compress.callbacks import TranslationQuality as TranslationQuality
    from lightning_compress.compression import compress as compress
    from lightning_compress.compression import save_compressed as save_compressed
    from lightning_compress.errors import CompressionError as CompressionError
    from lightning_compress.loading import CompressedCLIMixin as CompressedCLIMixin
    from lightning_compress.loading import LoadCompressedMixin as LoadCompressedMixin
    from lightning_compress.loading import expand as expand
    from lightning_compress.loading import load as load
    from lightning_compress.loading import load_from_checkpoint as load_from_checkpoint
    from lightning_compress.logging import Artifacts as Artifacts
    from lightning_compress.logging import prune_artifacts as prune_artifacts
    from lightning_compress.plan import Plan as Plan
    from lightning_compress.plan import Rule as Rule
    from lightning_compress.prune import Prune as Prune
    from lightning_compress.quantize import Binary as Binary
    from lightning_compress.quantize import Grid as Grid
    from lightning_compress.quantize import GroupWise as GroupWise
    from lightning_compress.quantize import Half as Half
    from lightning_compress.quantize import Interval as Interval
    from lightning_compress.quantize import KMeans as KMeans
    from lightning_compress.quantize import Logarithmic as Logarithmic
    from lightning_compress.quantize import LowRank as LowRank
    from lightning_compress.quantize import Raw as Raw
    from lightning_compress.quantize import Ternary as Ternary
    from lightning_compress.search import Score as Score
    from lightning_compress.search import bleu_score as bleu_score
    from lightning_compress.search import retarget as retarget
    from lightning_compress.search import smallest as smallest
    from lightning_compress.weights import Weights as Weights

_PACKAGE_OF = {
    "Archive": "archive",
    "Artifacts": "logging",
    "Binary": "quantize",
    "CompressCheckpoint": "callbacks",
    "CompressedCLIMixin": "loading",
    "CompressedCheckpointIO": "callbacks",
    "CompressionError": "errors",
    "Distill": "callbacks",
    "Grid": "quantize",
    "GroupWise": "quantize",
    "Half": "quantize",
    "Interval": "quantize",
    "KMeans": "quantize",
    "LayerDrop": "callbacks",
    "LayerSensitivity": "callbacks",
    "LoadCompressedMixin": "loading",
    "Logarithmic": "quantize",
    "LowRank": "quantize",
    "Plan": "plan",
    "Prune": "prune",
    "ProximalPenalty": "callbacks",
    "PruneDuringTraining": "callbacks",
    "QuantizeActivations": "callbacks",
    "QuantizeDuringTraining": "callbacks",
    "Raw": "quantize",
    "Rule": "plan",
    "Ternary": "quantize",
    "Score": "search",
    "TranslationQuality": "callbacks",
    "Weights": "weights",
    "bleu_score": "search",
    "compress": "compression",
    "expand": "loading",
    "load": "loading",
    "load_from_checkpoint": "loading",
    "prune_artifacts": "logging",
    "retarget": "search",
    "save_compressed": "compression",
    "smallest": "search",
}

__all__ = sorted(_PACKAGE_OF)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("lightning-compress")
    if name not in _PACKAGE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    with collection_paused():
        value = getattr(import_module(f"{__name__}.{_PACKAGE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
