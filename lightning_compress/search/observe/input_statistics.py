"""Statistics of one weight matrix: the Gram matrix of its inputs, embedding lookups, and softmax curvature per row.

Let X hold the inputs of a linear map, one per row. An error δ in one row of the weights changes the outputs by X δᵀ, at
a squared error of δ XᵀX δᵀ, so XᵀX is the curvature that error feedback needs. (Gradients of calibration data weight
the inputs in addition.) For an embedding, each lookup of a row is one such input. A row of a vocabulary projection
matters as far as its word is likely: the diagonal of the softmax curvature is p (1 − p).

Sources: Frantar et al. 2023, "GPTQ" (XᵀX of the inputs); Chung et al. 2020, "Extremely low bit Transformer quantization
for on-device neural machine translation" (words by frequency); Martens 2020, "New insights and perspectives on the
natural gradient method", section 9.2 (the curvature of a softmax).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

_COST_SHARE = 0.125  # arithmetic spent on the Gram matrix, relative to that of the linear map
_BLOCK = 256  # sampled inputs that are multiplied at once
_OUTPUTS_PER_CALL = 64  # sampled for the softmax curvature
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2  # each call starts sampling this fraction of an interval later


@dataclass(eq=False)
class InputStatistics:
    """Statistics of one stored matrix ``[rows, columns]``, summed over an evaluation.

    Attributes:
        rows: number of rows.
        columns: number of columns.
        gram: ``[columns, columns]`` float32: XᵀX of the sampled inputs; None without inputs. Inputs that only a part of
            the rows received count in proportion to that part.
        inputs: number of sampled inputs in ``gram``, counted likewise.
        lookups: ``[rows]`` float64: number of lookups of each row; None without lookups.
        softmax_curvature: ``[rows]`` float64: p (1 − p), summed over sampled outputs; None unless the outputs reach a
            softmax, an argmax or the like.
    """

    rows: int
    columns: int
    gram: Tensor | None = None
    inputs: float = 0.0
    lookups: Tensor | None = None
    softmax_curvature: Tensor | None = None
    _budget: float = field(init=False)  # inputs that may still be sampled
    _calls: int = field(default=0, init=False)
    _pending: dict[int, list[Tensor]] = field(default_factory=dict, init=False)  # number of rows → inputs

    def __post_init__(self) -> None:
        self._budget = float(self.columns)

    def add_inputs(self, inputs: Tensor, rows: int) -> None:
        """Sample inputs ``[…, columns]`` that ``rows`` of the rows received, evenly and deterministically."""
        inputs = inputs.reshape(-1, self.columns)
        count = len(inputs)
        self._budget += _COST_SHARE * count * rows / self.columns
        taken = min(count, int(self._budget))
        self._budget = min(self._budget - taken, self.columns)
        self._calls += 1
        if not taken:
            return
        if taken < count:
            start = self._calls * _GOLDEN_RATIO % 1
            indices = ((torch.arange(taken, dtype=torch.float64) + start) * (count / taken)).long()
            inputs = inputs.index_select(0, indices.clamp_(max=count - 1).to(inputs.device))
        pending = self._pending.setdefault(rows, [])
        pending.append(inputs.float() if taken < count else inputs.to(torch.float32, copy=True))
        if sum(map(len, pending)) >= _BLOCK:
            self._multiply(rows)

    def add_lookups(self, indices: Tensor) -> None:
        """Count lookups by row index; ``indices`` has any shape."""
        counts = torch.bincount(indices.reshape(-1).cpu(), minlength=self.rows).double()
        self.lookups = counts if self.lookups is None else self.lookups + counts

    def add_logits(self, logits: Tensor) -> None:
        """Add the softmax curvature of some of the outputs ``[…, rows]``."""
        logits = logits.reshape(-1, self.rows)
        p = logits[:: math.ceil(len(logits) / _OUTPUTS_PER_CALL)].float().softmax(-1)
        curvature = (p * (1 - p)).sum(0).double().cpu()
        self.softmax_curvature = curvature if self.softmax_curvature is None else self.softmax_curvature + curvature

    def finish(self) -> None:
        """Add the pending inputs, move the sums to main memory, and drop those that are not finite."""
        for rows in list(self._pending):
            self._multiply(rows)
        if self.gram is not None:
            self.gram = self.gram.cpu() if bool(self.gram.isfinite().all()) else None
        if self.softmax_curvature is not None and not bool(self.softmax_curvature.isfinite().all()):
            self.softmax_curvature = None

    def _multiply(self, rows: int) -> None:
        inputs = torch.cat(self._pending.pop(rows))
        share = rows / self.rows
        gram = share * (inputs.T @ inputs)
        # The sum is a new tensor: an inference tensor cannot be changed in place outside inference mode.
        self.gram = gram if self.gram is None else self.gram + gram
        self.inputs += share * len(inputs)
