"""Lightning's hooks of validation, test and prediction, as three calls: they are the same for a callback that replaces
weights while a batch is evaluated."""

from __future__ import annotations

from torch import nn

from lightning_compress.callbacks.hooks.lightning_types import Trainer


class EvaluationHooks:
    """The part of a callback that loads other weights for each batch that is evaluated.

    Between two batches the module has its own weights, which other callbacks may read.
    """

    def begin_evaluation(self, trainer: Trainer, module: nn.Module, is_first: bool) -> None:
        """Load the weights to evaluate.

        Args:
            trainer: of the run.
            module: the module.
            is_first: whether this is the first batch, before which the module's weights may have changed.
        """
        raise NotImplementedError

    def end_evaluated_batch(self) -> None:
        """Load the weights of the module again."""
        raise NotImplementedError

    def end_evaluation(self) -> None:
        """Called when all batches are evaluated."""
        raise NotImplementedError

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: nn.Module, batch: object, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Load the weights to evaluate."""
        self.begin_evaluation(trainer, pl_module, batch_idx == dataloader_idx == 0)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: nn.Module,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Load the weights of the module again."""
        self.end_evaluated_batch()

    def on_validation_end(self, trainer: Trainer, pl_module: nn.Module) -> None:
        """The evaluation is complete."""
        self.end_evaluation()

    on_test_batch_start = on_predict_batch_start = on_validation_batch_start
    on_test_batch_end = on_predict_batch_end = on_validation_batch_end
    on_test_end = on_predict_end = on_validation_end
