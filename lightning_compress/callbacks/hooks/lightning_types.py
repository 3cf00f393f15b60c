"""The parts of Lightning's classes that the callbacks use, as protocols; nothing of Lightning is imported.

The hooks of the callbacks override those of Lightning, so a type checker compares :class:`Trainer` with Lightning's own
class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from lightning_compress.logging.step import SteppingTrainer

Batch = tuple[object, int] | tuple[object, int, int]  # a batch, its index, and the index of its loader if several
_T = TypeVar("_T")


class Logger(Protocol):
    """Any logger."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log scalars at a step."""


class Precision(Protocol):
    """The precision plugin."""

    def convert_input(self, data: object) -> object:
        """A batch in the precision that the module computes in."""

    def forward_context(self) -> AbstractContextManager[Any]:
        """The block in which a module computes."""

    def val_step_context(self) -> AbstractContextManager[Any]:
        """The block of a validation step."""


class TrainerState(Protocol):
    """What a trainer is doing."""

    @property
    def fn(self) -> object:
        """The entry point that was called: ``fit``, ``validate``, ``test`` or ``predict``."""


class LightningModule(Protocol):
    """The hooks of a module that a validation calls."""

    @property
    def validation_step(self) -> Callable[..., Tensor | Mapping[str, Any] | None]:
        """The step of a validation on one batch."""

    def modules(self) -> Iterator[nn.Module]:
        """The module and all modules inside it."""

    def on_validation_start(self) -> None:
        """Called before a validation."""

    def on_validation_epoch_start(self) -> None:
        """Called before the first batch."""

    def on_validation_batch_start(self, batch: object, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Called before each batch."""

    def on_validation_batch_end(
        self, outputs: Tensor | Mapping[str, Any] | None, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Called after each batch."""

    def on_validation_epoch_end(self) -> None:
        """Called after the last batch."""

    def on_validation_end(self) -> None:
        """Called after a validation."""

    def _on_before_batch_transfer(self, batch: object, dataloader_idx: int = 0) -> object: ...


class Metric(Protocol):
    """A metric of torchmetrics."""

    def reset(self) -> None:
        """Forget what it has seen."""


class Strategy(Protocol):
    """Where a trainer's module is, and how its checkpoints are written and read."""

    @property
    def lightning_module(self) -> nn.Module | None:
        """The module without wrappers."""

    @property
    def model(self) -> nn.Module | None:
        """The module with the wrappers of the strategy."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this process is rank 0."""

    @property
    def root_device(self) -> torch.device:
        """The device of this process."""

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Whether weights are loaded after the module is wrapped."""

    def broadcast(self, obj: _T, src: int = 0) -> _T:
        """The object of rank ``src``, on every rank."""

    def batch_to_device(self, batch: object, *, dataloader_idx: int = 0) -> object:
        """A batch on the module's device."""

    def validation_step(self, *args: object) -> Tensor | Mapping[str, Any] | None:
        """The validation step of the wrapped module."""

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path) -> None:
        """Write a checkpoint."""

    def remove_checkpoint(self, filepath: str | Path) -> None:
        """Delete a checkpoint."""

    def load_checkpoint(self, checkpoint_path: str | Path) -> dict[str, Any]:
        """Read a checkpoint."""

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load a checkpoint's weights into the module."""


class Trainer(SteppingTrainer, Protocol):
    """A trainer."""

    @property
    def strategy(self) -> Strategy:
        """Its strategy."""

    @property
    def state(self) -> TrainerState:
        """What it is doing."""

    @property
    def precision_plugin(self) -> Precision:
        """Its precision plugin."""

    @property
    def lightning_module(self) -> nn.Module:
        """Its module."""

    @property
    def checkpoint_callbacks(self) -> Sequence[object]:
        """Those of its callbacks that save checkpoints."""

    @property
    def progress_bar_callback(self) -> object | None:
        """The callback that shows progress, if there is one."""

    @property
    def loggers(self) -> Sequence[Logger]:
        """Its loggers."""

    @property
    def callback_metrics(self) -> Mapping[str, Tensor]:
        """The metrics that were logged last."""

    @property
    def val_dataloaders(self) -> object:
        """The validation loaders: one, or any nesting of lists and mappings."""

    @property
    def num_val_batches(self) -> object:
        """The number of batches of each validation loader."""

    @property
    def enable_validation(self) -> bool:
        """Whether ``fit`` validates."""

    @property
    def sanity_checking(self) -> bool:
        """Whether it validates before the training, to find errors."""

    @property
    def received_sigterm(self) -> bool:
        """Whether the process was asked to end."""

    @property
    def world_size(self) -> int:
        """The number of processes."""

    @property
    def is_global_zero(self) -> bool:
        """Whether this process is rank 0."""

    @property
    def current_epoch(self) -> int:
        """The number of epochs that are complete."""

    @property
    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """Its optimizers."""

    @property
    def estimated_stepping_batches(self) -> int | float:
        """The number of optimizer steps of the whole run; infinite without a limit."""

    @property
    def accumulate_grad_batches(self) -> int:
        """How many batches the gradient of an optimizer step is the mean of."""

    @property
    def ckpt_path(self) -> str | Path | None:
        """The checkpoint that the run resumes from."""

    @property
    def default_root_dir(self) -> str:
        """The folder for files of a run without a folder of its own."""


@runtime_checkable
class ModelCheckpoint(Protocol):
    """A callback that saves checkpoints and knows the best of them."""

    @property
    def monitor(self) -> str | None:
        """The metric that checkpoints are compared by."""

    @property
    def mode(self) -> str:
        """``"min"`` or ``"max"``."""

    @property
    def best_model_path(self) -> str:
        """The best checkpoint; empty before the first."""

    @property
    def last_model_path(self) -> str:
        """The checkpoint of ``save_last``; empty if there is none."""


def callbacks_of(trainer: Trainer) -> Sequence[object]:
    """All callbacks of a trainer, in order. Lightning sets this attribute without declaring it."""
    callbacks: Sequence[object] = getattr(trainer, "callbacks", ())
    return callbacks
