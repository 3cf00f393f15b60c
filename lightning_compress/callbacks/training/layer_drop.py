"""``LayerDrop``: layers that are skipped at random in training, so that some can be removed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from lightning_compress.callbacks.arguments import check_number, check_texts, check_whole_number, checked
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.errors import CallbackError
from lightning_compress.training import LayerSkips

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()


class LayerDrop(_Callback):
    """Skip each layer of the module's stacks at random in each training step (Fan, Grave and Joulin 2020).

    After the training :func:`~lightning_compress.training.drop_layers` removes as many layers as wanted, without
    training again. Validation uses all layers. Layers that are skipped get no gradient: with several processes,
    Lightning needs ``strategy="ddp_find_unused_parameters_true"``. All processes skip the same layers.

    Args:
        share: the probability that a layer is skipped, 0 to 1; about the share that is to be removed.
        layers: patterns of the names of stacks, such as ``["encoder.*"]``; None for all
            (:func:`~lightning_compress.training.structures_of` finds them).
        seed: of the choice.

    Raises:
        CallbackError: an argument is wrong; when a run starts, the module has no such stack, or its layers use gradient
            checkpointing.
    """

    def __init__(self, share: float = 0.2, *, layers: Sequence[str] | None = None, seed: int = 0) -> None:
        super().__init__()
        check_number("share", share)
        check_whole_number("seed", seed, 0)
        if share >= 1:
            raise CallbackError(f"share is {share}, expected a probability below 1")
        if layers is not None:
            check_texts("layers", layers, "patterns of the names of stacks such as ['encoder.*']")
        self.share, self.layers, self.seed = share, layers, seed
        self._skips: LayerSkips | None = None
        self._saved: dict[str, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Give the layers hooks."""
        self._skips = checked(lambda share: LayerSkips(pl_module, share, self.layers, seed=self.seed), self.share)
        if self._saved:
            self._skips.generator.set_state(self._saved["generator"].cpu())

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the layers without hooks."""
        if self._skips is not None:
            self._skips.remove()
        self._skips, self._saved = None, {}

    def state_dict(self) -> dict[str, Any]:
        """The state of the generator."""
        return {} if self._skips is None else {"generator": self._skips.generator.get_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the numbers that follow."""
        self._saved = state_dict
