"""``QuantizeActivations``: modules train with inputs of few values, whose ranges are recorded in the file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_compress.callbacks.arguments import check_number, check_texts, check_whole_number
from lightning_compress.callbacks.hooks.base import callback_class
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.errors import CallbackError
from lightning_compress.training import QuantizedInputs

if TYPE_CHECKING:
    from pytorch_lightning import Callback as _Callback
else:
    _Callback = callback_class()

_log = logging.getLogger(__name__)

RECORD = "activation_ranges"
_MOST_BITS = 16


class QuantizeActivations(_Callback):
    """Quantize the inputs of linear, convolutional, recurrent and attention modules in training and evaluation.

    The range of each input is a moving average of the largest magnitudes in training batches, and stays as it is in
    evaluations. Beside ``QuantizeDuringTraining``, which quantizes weights, this is the training of Q8BERT (Zafrir et
    al. 2019); see :class:`~lightning_compress.training.QuantizedInputs`.

    A compressed file holds weights. The ranges are a record in it, for a runtime that computes with whole numbers:
    ``Archive.open(path).record().checkpoint["activation_ranges"]`` has ``bits`` and ``ranges``, name of the module →
    largest magnitude. A checkpoint has them under the same key.

    Args:
        bits: of the whole numbers, 2 to 16.
        start: the optimizer step from which inputs are quantized; before it, their ranges are measured.
        decay: of the moving averages, 0 to below 1.
        modules: patterns of the names of modules, such as ``["network.encoder.*"]``; None for all of these types.
        exclude: patterns of modules to leave out, such as an output layer.

    Raises:
        CallbackError: an argument is wrong.
        TrainingError: the module has no such module; an input becomes NaN or infinite.
    """

    def __init__(
        self,
        bits: int = 8,
        *,
        start: int = 0,
        decay: float = 0.99,
        modules: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__()
        check_whole_number("bits", bits, 2)
        check_whole_number("start", start, 0)
        check_number("decay", decay)
        if bits > _MOST_BITS or decay >= 1:
            name, value, expected = ("bits", bits, "2 to 16") if bits > _MOST_BITS else ("decay", decay, "0 to below 1")
            raise CallbackError(f"{name} is {value}, expected a number {expected}")
        if modules is not None:
            check_texts("modules", modules, "patterns of the names of modules such as ['encoder.*']")
        check_texts("exclude", exclude, "patterns of the names of modules such as ['output']")
        self.bits, self.start, self.decay = bits, start, decay
        self.modules, self.exclude = modules, tuple(exclude)
        self._inputs: QuantizedInputs | None = None
        self._ranges: dict[str, float] = {}

    @property
    def ranges(self) -> dict[str, float]:
        """Name of the module → largest magnitude of its inputs; that of an attention ends with the argument's name."""
        return dict(self._ranges) if self._inputs is None else self._inputs.state_dict()

    def on_fit_start(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """Give the modules hooks."""
        if self._inputs is None:
            self._inputs = QuantizedInputs(
                pl_module, self.bits, decay=self.decay, patterns=self.modules, exclude=self.exclude
            )
            self._inputs.load_state_dict(self._ranges)
        if trainer.state.fn != "fit" and not self.ranges:
            _log.warning(
                "QuantizeActivations has no ranges before a training, so inputs are exact here: give ckpt_path a "
                "checkpoint of the training (a compressed file has the ranges as a record, see QuantizedInputs)"
            )

    on_validation_start = on_test_start = on_predict_start = on_fit_start

    def on_train_batch_start(self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int) -> None:
        """Quantize from the start on."""
        if self._inputs is not None:
            self._inputs.is_active = trainer.global_step >= self.start

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: nn.Module, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Let the ranges follow, on every rank those of all."""

        def largest_of_all(values: Tensor) -> Tensor:
            values = values.to(trainer.strategy.root_device)
            torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
            return values

        if self._inputs is not None:
            self._inputs.end_batch(largest_of_all if trainer.world_size > 1 else None)

    def teardown(self, trainer: Trainer, pl_module: nn.Module, stage: str) -> None:
        """Leave the modules without hooks."""
        if self._inputs is not None:
            self._ranges = self._inputs.state_dict()
            self._inputs.remove()
        self._inputs = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: nn.Module, checkpoint: dict[str, Any]) -> None:
        """Add the record, which compressed files take over."""
        checkpoint[RECORD] = {"bits": self.bits, "ranges": self.ranges}

    def state_dict(self) -> dict[str, Any]:
        """The ranges."""
        return {"ranges": self.ranges}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the ranges of a checkpoint."""
        self._ranges = dict(state_dict["ranges"])
