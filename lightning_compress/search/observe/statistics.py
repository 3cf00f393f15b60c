"""What an evaluation shows of one matrix: its inputs as a linear map, which rows are looked up, and which answer.

With X the inputs of a linear map, one in a row, an error δ in a row of its weights moves outputs by X δᵀ, and costs
δ XᵀX δᵀ. That is a curvature for feeding errors back; the gradients that calibration takes weigh the inputs besides.
Of an embedding each lookup of a row is one such input. A row of a vocabulary projection is felt where its word is among
the likely ones: the curvature of a softmax is p (1 − p).

Sources: Frantar et al. 2023, "GPTQ" (XᵀX of the inputs); Chung et al. 2020, "Extremely low bit Transformer quantization
for on-device neural machine translation" (words by frequency); Martens 2020, "New insights and perspectives on the
natural gradient method", section 9.2 (the curvature of a softmax).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

_SHARE = 0.125  # of the arithmetic of a map, that may go into products of its inputs
_TOGETHER = 256  # sampled inputs that are multiplied at once
_ANSWERS = 64  # that are looked at of each call
_TURN = (math.sqrt(5) - 1) / 2  # of the distance between samples, by which they move on with each call


@dataclass(eq=False)
class Observation:
    """Of one stored tensor ``[rows, columns]``; sums over an evaluation.

    Attributes:
        rows: how many.
        columns: how many.
        products: ``[columns, columns]`` float32: XᵀX of sampled inputs, those of a part of the rows counted by that
            part; None where there were none.
        inputs: how many inputs that is.
        lookups: ``[rows]`` float64: how often each row was looked up; None for never.
        answers: ``[rows]`` float64: p (1 − p) of sampled outputs, where these were compared with each other; None where
            they were not.
    """

    rows: int
    columns: int
    products: Tensor | None = None
    inputs: float = 0.0
    lookups: Tensor | None = None
    answers: Tensor | None = None
    _allowed: float = field(init=False)  # inputs that may be taken
    _calls: int = field(default=0, init=False)
    _waiting: dict[int, list[Tensor]] = field(default_factory=dict, init=False)  # number of rows → inputs

    def __post_init__(self) -> None:
        self._allowed = float(self.columns)

    def see_inputs(self, inputs: Tensor, rows: int) -> None:
        """Take some of the inputs ``[…, columns]`` that met this many of the rows, evenly and the same each time."""
        inputs = inputs.reshape(-1, self.columns)
        count = len(inputs)
        self._allowed += _SHARE * count * rows / self.columns
        taken = min(count, int(self._allowed))
        self._allowed = min(self._allowed - taken, self.columns)
        self._calls += 1
        if not taken:
            return
        if taken < count:
            begin = self._calls * _TURN % 1
            places = ((torch.arange(taken, dtype=torch.float64) + begin) * (count / taken)).long().clamp_(max=count - 1)
            inputs = inputs.index_select(0, places.to(inputs.device))
        waiting = self._waiting.setdefault(rows, [])
        waiting.append(inputs.float() if taken < count else inputs.to(torch.float32, copy=True))
        if sum(map(len, waiting)) >= _TOGETHER:
            self._multiply(rows)

    def see_lookups(self, places: Tensor) -> None:
        """Count the numbers of rows that were looked up."""
        counts = torch.bincount(places.reshape(-1).cpu(), minlength=self.rows).double()
        self.lookups = counts if self.lookups is None else self.lookups + counts

    def see_answers(self, scores: Tensor) -> None:
        """Count some of the outputs ``[…, rows]``."""
        scores = scores.reshape(-1, self.rows)
        likely = scores[:: math.ceil(len(scores) / _ANSWERS)].float().softmax(-1)
        felt = (likely * (1 - likely)).sum(0).double().cpu()
        self.answers = felt if self.answers is None else self.answers + felt

    def finish(self) -> None:
        """Count what still waits, and keep sums that are finite, in main memory."""
        for rows in list(self._waiting):
            self._multiply(rows)
        if self.products is not None:
            self.products = self.products.cpu() if bool(self.products.isfinite().all()) else None
        if self.answers is not None and not bool(self.answers.isfinite().all()):
            self.answers = None

    def _multiply(self, rows: int) -> None:
        inputs = torch.cat(self._waiting.pop(rows))
        part = rows / self.rows
        products = part * (inputs.T @ inputs)
        # Sums are new tensors: those of an inference mode could not be changed outside of it.
        self.products = products if self.products is None else self.products + products
        self.inputs += part * len(inputs)
