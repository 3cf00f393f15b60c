"""The inputs of weight matrices, as the operators of a module come to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_compress.search.observe.fused_operators import FUSED_OPERATORS
from lightning_compress.search.observe.operator_handlers import OPERATORS
from lightning_compress.search.observe.stored_matrices import MatrixRows, StoredMatrices

_log = logging.getLogger(__name__)
_RECURRENT_LAYER = torch.ops.aten.mkldnn_rnn_layer.default
OnProduct = Callable[[MatrixRows, Tensor], bool]


class MatrixInputs(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context manager that shows the inputs of every stored matrix before they are multiplied with it.

    Args:
        matrices: that are looked for.
        on_product: rows of a matrix and their inputs ``[…, columns]`` → whether the matrix was changed.
        on_lookup: called with the name of a matrix of which rows are looked up.
    """

    def __init__(
        self, matrices: StoredMatrices, on_product: OnProduct, on_lookup: Callable[[str], None] = lambda name: None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._matrices, self._on_product, self._on_lookup = matrices, on_product, on_lookup
        self._is_changed = False

    # Any: the arguments of every operator of torch.
    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        """Show the inputs of the operator, then run it."""
        kwargs = kwargs or {}
        if func is _RECURRENT_LAYER:  # the inputs of its second matrix are outputs of the first one
            self._is_changed = True
            while self._is_changed:
                result = func(*args, **kwargs)
                self._show(FUSED_OPERATORS[func], result, args, kwargs)
            return result
        if func in OPERATORS:
            self._show(OPERATORS[func], None, args, kwargs)
        return func(*args, **kwargs)

    def _show(self, handler: Callable[..., None], result: object, args: Any, kwargs: Any) -> None:
        self._is_changed = False
        try:
            handler(self, result, *args, **kwargs)
        except Exception as error:  # of any type: the matrices of this call are not shown
            _log.debug("inputs of a call are not seen: %s: %s", type(error).__name__, error)

    def record_matmul(self, inputs: Tensor, weight: Tensor, result: Tensor | None = None) -> None:
        """See :class:`UsageRecorder`."""
        found = None if self._is_changed else self._matrices.find(weight)
        if found is not None:
            self._is_changed = self._on_product(found[0], inputs)

    def record_embedding_lookup(self, weight: Tensor, indices: Tensor) -> None:
        """See :class:`UsageRecorder`."""
        found = self._matrices.find(weight)
        if found is not None:
            self._on_lookup(found[0].name)

    def record_softmax(self, logits: Tensor, dim: int | None) -> None:
        """See :class:`UsageRecorder`; without effect."""


@contextmanager
def small_operators() -> Iterator[None]:
    """A block in which attention and recurrent layers are no fused kernels, except for one that shows its matrices."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
