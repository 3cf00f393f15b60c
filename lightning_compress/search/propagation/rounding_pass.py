"""One pass of calibration batches through a module whose matrices are rounded as the batches come to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from lightning_compress.archive import decode_tensor
from lightning_compress.compression.payloads import CodedTensor, TensorWork
from lightning_compress.search.observe.stored_matrices import MatrixRows
from lightning_compress.search.propagation.correction import correction
from lightning_compress.search.propagation.exact_inputs import ExactInputs, sample
from lightning_compress.search.propagation.lockstep import Wait
from lightning_compress.weights.bindings import Binding


class RoundingPass:
    """Rounds each matrix when all batches have come to it.

    Args:
        exact: the inputs that matrices have with exact weights.
        bindings: name of a stored tensor → the parameters that hold it.
        tensors: name → exact values, in main memory.
        works: name → how the tensor is coded.

    Attributes:
        coded: name → what was coded so far.
    """

    def __init__(
        self,
        exact: ExactInputs,
        bindings: Mapping[str, Sequence[Binding]],
        tensors: Mapping[str, Tensor],
        works: Mapping[str, TensorWork],
    ) -> None:
        self.coded: dict[str, CodedTensor] = {}
        self._exact, self._bindings, self._tensors, self._works = exact, bindings, tensors, works
        self._uses = list(exact.inputs)
        self._orders = {rows: order for order, rows in enumerate(self._uses)}
        self._last = {rows.name: order for order, rows in enumerate(self._uses)}
        self._passed: set[int] = set()
        self._targets: dict[str, Tensor] = {}  # corrected values of matrices of which only some rows were used so far

    def used(self, rows: MatrixRows, inputs: Tensor, wait: Wait[Tensor]) -> bool:
        """Wait, at the first use of a matrix, until it is rounded; returns whether it was."""
        order = self._orders.get(rows)
        if order is None or order in self._passed:
            return False
        wait(order, sample(inputs))
        return order == self._last[rows.name]

    def arrived(self, order: int, present: Mapping[int, Tensor]) -> None:
        """Correct the rows of a matrix, and round it after the last of them.

        Args:
            order: of the use.
            present: number of a batch → sample of its inputs.
        """
        self._passed.add(order)
        rows = self._uses[order]
        exact, values = self._exact.inputs[rows], self._tensors[rows.name]
        pairs = [(exact[k], present[k]) for k in sorted(present) if k in exact and exact[k].shape == present[k].shape]
        target = self._targets.setdefault(rows.name, values.float().clone())
        part = target[rows.first : rows.first + rows.rows]
        part += correction(part, pairs)
        if order == self._last[rows.name]:
            del self._targets[rows.name]
            self.keep(rows.name, self._works[rows.name].coded(target.to(values.dtype)))

    def keep(self, name: str, coded: CodedTensor) -> None:
        """Take a coded tensor into the file, and its restored values into the module."""
        self.coded[name] = coded
        entry, data = coded
        restored = decode_tensor(entry, memoryview(data))
        for binding in self._bindings.get(name, ()):
            binding.load(restored)
