"""Lightning callbacks: a compressed file beside every checkpoint, its quality, and the sensitivity of each layer.

Public names are imported on first use, so the process that writes companion files in the background imports no
Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_compress.callbacks.checkpoint import CompressCheckpoint as CompressCheckpoint
    from lightning_compress.callbacks.checkpoint_io import CompressedCheckpointIO as CompressedCheckpointIO
    from lightning_compress.callbacks.hooks.batch_losses import mean_loss as mean_loss
    from lightning_compress.callbacks.reading import ReadCompressed as ReadCompressed
    from lightning_compress.callbacks.reconciliation import Reconciled as Reconciled
    from lightning_compress.callbacks.reconciliation import reconcile as reconcile
    from lightning_compress.callbacks.sensitivity import LayerSensitivity as LayerSensitivity
    from lightning_compress.callbacks.training.distill import Distill as Distill
    from lightning_compress.callbacks.training.layer_drop import LayerDrop as LayerDrop
    from lightning_compress.callbacks.training.penalize import ProximalPenalty as ProximalPenalty
    from lightning_compress.callbacks.training.prune import PruneDuringTraining as PruneDuringTraining
    from lightning_compress.callbacks.training.quantize import QuantizeDuringTraining as QuantizeDuringTraining
    from lightning_compress.callbacks.training.quantize_activations import QuantizeActivations as QuantizeActivations
    from lightning_compress.callbacks.translation import TranslationQuality as TranslationQuality

_MODULE_OF = {
    "CompressCheckpoint": "checkpoint",
    "CompressedCheckpointIO": "checkpoint_io",
    "Distill": "training.distill",
    "LayerDrop": "training.layer_drop",
    "LayerSensitivity": "sensitivity",
    "ProximalPenalty": "training.penalize",
    "PruneDuringTraining": "training.prune",
    "QuantizeActivations": "training.quantize_activations",
    "QuantizeDuringTraining": "training.quantize",
    "ReadCompressed": "reading",
    "Reconciled": "reconciliation",
    "TranslationQuality": "translation",
    "mean_loss": "hooks.batch_losses",
    "reconcile": "reconciliation",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
