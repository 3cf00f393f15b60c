"""How far the outputs of a file are from those of the exact weights: a measure of harm that is nearly free of noise.

A score such as BLEU changes in jumps, word by word. The divergence of the output distributions, each given the same
words so far, is an average over all of them, and grows smoothly with the errors of the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from lightning_compress.errors import SearchError
from lightning_compress.search.evaluate.evaluation import Evaluator
from lightning_compress.search.sensitivity.calibration import Distillation, batches_of

_MAX_NUMBERS = 2**25  # outputs of the exact weights that are kept in memory
_MAX_BATCHES = 64


class OutputDivergence:
    """The mean Kullback–Leibler divergence of a file's outputs, for each output of some batches, in nats.

    Args:
        evaluator: loads weights into the module.
        calibration: batches, and the module's outputs for them.
    """

    def __init__(self, evaluator: Evaluator, calibration: Distillation) -> None:
        self._evaluator, self._calibration = evaluator, calibration
        self._batches: list[tuple[Any, Tensor]] = []
        numbers = 0
        with evaluator.loaded(evaluator.weights.state_dict(), "the exact weights"), torch.no_grad():
            for batch in islice(batches_of(calibration), _MAX_BATCHES):
                exact = self._log_probabilities(batch)
                numbers += exact.numel()
                if self._batches and numbers > _MAX_NUMBERS:
                    break
                self._batches.append((batch, exact))

    def __call__(self, tensors: Mapping[str, Tensor]) -> float | None:
        """The divergence of a file; None where it is not a positive finite number, as with equal weights."""
        total, outputs = 0.0, 0
        with self._evaluator.loaded(tensors, "a candidate"), torch.no_grad():
            for batch, exact in self._batches:
                moved = exact.exp() * (exact - self._log_probabilities(batch))
                total += float(moved.masked_fill(exact.isneginf(), 0).sum())
                outputs += exact.numel() // exact.shape[-1]
        mean = total / max(outputs, 1)
        return mean if 0 < mean < float("inf") else None

    def _log_probabilities(self, batch: object) -> Tensor:
        try:
            return self._calibration.outputs(self._evaluator.module, batch).detach().float().log_softmax(-1)
        except Exception as error:
            raise SearchError(
                f"calibration.outputs failed on a batch with {type(error).__name__}: {error}. It is to return the "
                "scores before the softmax, [..., classes]. The module is as it was."
            ) from error
