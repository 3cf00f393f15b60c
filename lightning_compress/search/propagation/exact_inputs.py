"""The inputs of weight matrices with the exact weights, for some calibration batches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_compress.search.observe.stored_matrices import MatrixRows, StoredMatrices
from lightning_compress.search.propagation.matrix_inputs import MatrixInputs

_INPUTS = 8192  # of each matrix
_INPUTS_OF_BATCH = 1024
_LEAST_BYTES = 1 << 28  # that inputs may take where twice the weights are less
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


@dataclass(eq=False)
class ExactInputs:
    """The matrices that some batches use, and their inputs.

    A matrix that a batch uses more than once is left out, since its later inputs are not known at the first use: that
    of a recurrent cell which is called step by step, or a table in which words are looked up as well.

    Attributes:
        batches: the batches.
        inputs: rows of a matrix → number of a batch → :func:`sample` of their inputs; in the order of use.
    """

    batches: list[Any] = field(default_factory=list)
    inputs: dict[MatrixRows, dict[int, Tensor]] = field(default_factory=dict)
    _left_out: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls, answer: Callable[[Any], object], batches: Sequence[Any], matrices: StoredMatrices, nbytes: int
    ) -> ExactInputs:
        """Record until each matrix has 8,192 inputs, or until they take twice the bytes of the weights.

        Args:
            answer: calls the module with a batch.
            batches: those that are used are spread evenly among them.
            matrices: of the module.
            nbytes: of the weights.
        """
        made = cls()
        for batch in spread(batches):
            made._add(batch, answer, matrices)
            if made._is_enough(max(2 * nbytes, _LEAST_BYTES)):
                break
        return made

    def _add(self, batch: object, answer: Callable[[Any], object], matrices: StoredMatrices) -> None:
        number, uses = len(self.batches), Counter[MatrixRows]()

        def on_product(rows: MatrixRows, inputs: Tensor) -> bool:
            uses[rows] += 1
            self.inputs.setdefault(rows, {})[number] = sample(inputs)
            return False

        with MatrixInputs(matrices, on_product, self._left_out.add):
            answer(batch)
        self.batches.append(batch)
        self._left_out |= {rows.name for rows, count in uses.items() if count > 1}
        self.inputs = {rows: of for rows, of in self.inputs.items() if rows.name not in self._left_out}

    def _is_enough(self, most: int) -> bool:
        counts = [sum(map(len, of_batches.values())) for of_batches in self.inputs.values()]
        nbytes = sum(inputs.nbytes for of_batches in self.inputs.values() for inputs in of_batches.values())
        return min(counts, default=_INPUTS) >= _INPUTS or nbytes >= most


def sample(inputs: Tensor) -> Tensor:
    """``[n, columns]`` bfloat16 in main memory: at most 1,024 of ``[…, columns]``, evenly spaced."""
    rows = inputs.detach().reshape(-1, inputs.shape[-1])
    if len(rows) > _INPUTS_OF_BATCH:
        chosen = torch.arange(_INPUTS_OF_BATCH, dtype=torch.float64) * (len(rows) / _INPUTS_OF_BATCH)
        rows = rows.index_select(0, chosen.long().to(rows.device))
    return rows.to("cpu", torch.bfloat16, copy=True)


def spread(batches: Sequence[Any]) -> list[Any]:
    """All batches, so that the first few of them come from everywhere: they may be sorted by length."""
    return [batches[k] for k in sorted(range(len(batches)), key=lambda k: (k + 1) * _GOLDEN_RATIO % 1)]
