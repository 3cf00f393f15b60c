"""Which stored matrix an operator uses, recognised by its memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lightning_compress.weights.bindings import Binding


@dataclass(frozen=True)
class MatrixRows:
    """A stored matrix, or consecutive rows of it.

    Attributes:
        name: of the stored matrix.
        first: the first of its rows.
        rows: how many.
    """

    name: str
    first: int
    rows: int


class StoredMatrices:
    """The parameters of a module that are matrices of two rows and two columns or more.

    Args:
        bindings: name of a stored tensor → the parameters that hold it.
    """

    def __init__(self, bindings: Mapping[str, Sequence[Binding]]) -> None:
        self._matrices: dict[int, list[tuple[str, Tensor]]] = {}  # storage → the matrices in it
        for name, group in bindings.items():
            for parameter in (binding.parameter for binding in group):
                if parameter.ndim == 2 and min(parameter.shape) > 1 and parameter.is_contiguous():
                    self._matrices.setdefault(storage_of(parameter), []).append((name, parameter.detach()))

    def find(self, weight: Tensor) -> tuple[MatrixRows, Tensor] | None:
        """The rows of a stored matrix that ``weight`` is, and that matrix; None if it is no consecutive rows of one."""
        for name, matrix in self._matrices.get(storage_of(weight), ()):
            rows, columns = matrix.shape
            first, rest = divmod(int(weight.storage_offset() - matrix.storage_offset()), columns)
            dense = weight.ndim == 2 and weight.shape[1] == columns and weight.stride() == (columns, 1)
            if dense and not rest and 0 <= first <= rows - len(weight) and weight.dtype == matrix.dtype:
                return MatrixRows(name, first, len(weight)), matrix
        return None


def storage_of(tensor: Tensor) -> int:
    """What tensors that share memory have in common."""
    return tensor.untyped_storage().data_ptr()
