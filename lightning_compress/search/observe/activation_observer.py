"""Observes the operators of an evaluation as a dispatch mode of torch, below autograd and above the kernels.

Parameters are recognised by their memory and operators by what they compute, so every kind of module is covered: linear
maps, attention, recurrent layers, embeddings, tied tables, custom functions. Results do not change: the same kernels
get the same tensors in the same order. (One exception: in inference mode, torch multiplies a non-contiguous tensor of
three dimensions by another kernel under a dispatch mode, which may change the last bit.) Not observed are other
processes and threads, copies of weights in another dtype, and convolutions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_compress.search.observe.fused_operators import FUSED_OPERATORS
from lightning_compress.search.observe.input_statistics import InputStatistics
from lightning_compress.search.observe.operator_handlers import OPERATORS
from lightning_compress.search.observe.stored_matrices import StoredMatrices, storage_of
from lightning_compress.weights.bindings import Binding

_log = logging.getLogger(__name__)
_HANDLERS = {**OPERATORS, **FUSED_OPERATORS}
_MAX_COLUMNS = 4096  # of a Gram matrix: beyond, it would need more memory than the weights
_MIN_GRAM_ELEMENTS = 1 << 20  # memory budget of all Gram matrices of a small model: 4 MiB of float32


class ActivationObserver(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context manager that records how weight matrices are used inside its block.

    Args:
        bindings: name of a stored tensor → the parameters that hold it; only matrices are observed.
        statistics: name → statistics; the observer adds to them, and creates those that are missing.
    """

    supports_higher_order_operators = True

    def __init__(self, bindings: Mapping[str, Sequence[Binding]], statistics: dict[str, InputStatistics]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._statistics = statistics
        self._matrices = StoredMatrices(bindings)
        self._last: tuple[Tensor, InputStatistics] | None = None  # the last product with a whole matrix
        self._has_gram: dict[str, bool] = {}
        numbers = sum(binding.parameter.numel() for group in bindings.values() for binding in group)
        self._gram_budget = max(_MIN_GRAM_ELEMENTS, numbers)

    # Any: the arguments of every operator of torch.
    def __torch_dispatch__(self, func: Any, types: object, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator, then record it if it has a handler."""
        kwargs = kwargs or {}
        if func not in _HANDLERS:
            if isinstance(func, torch._ops.OpOverload):
                with self:  # in inference mode, composite operators arrive undecomposed
                    result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        try:
            with torch.no_grad():
                _HANDLERS[func](self, result, *args, **kwargs)
        except Exception as error:  # of any type: the evaluation goes on without a record of this call
            _log.debug("a call of %s is not recorded: %s: %s", func, type(error).__name__, error)
        return result

    def record_matmul(self, inputs: Tensor, weight: Tensor, result: Tensor | None = None) -> None:
        """See :class:`UsageRecorder`."""
        if result is not None:
            self._last = None
        name, statistics = self._statistics_of(weight)
        if statistics is None:
            return
        if self._fits_budget(name, statistics.columns):
            statistics.add_inputs(inputs, len(weight))
        if result is not None and len(weight) == statistics.rows:
            self._last = result, statistics

    def record_embedding_lookup(self, weight: Tensor, indices: Tensor) -> None:
        """See :class:`UsageRecorder`."""
        _, statistics = self._statistics_of(weight)
        if statistics is not None and len(weight) == statistics.rows:
            statistics.add_lookups(indices)

    def record_softmax(self, logits: Tensor, dim: int | None) -> None:
        """See :class:`UsageRecorder`; logits count where they are the result of the last product, or a part of it."""
        if self._last is None or dim is None or dim % logits.ndim != logits.ndim - 1:
            return
        result, statistics = self._last
        if logits.shape[-1] == statistics.rows and storage_of(logits) == storage_of(result):
            statistics.add_logits(logits)
            self._last = None

    def _statistics_of(self, weight: Tensor) -> tuple[str, InputStatistics | None]:
        """Name and statistics of the stored matrix that ``weight`` is, or whose consecutive rows it is."""
        found = self._matrices.find(weight)
        if found is None:
            return "", None
        name = found[0].name
        return name, self._statistics.setdefault(name, InputStatistics(*found[1].shape))

    def _fits_budget(self, name: str, columns: int) -> bool:
        """Whether a matrix gets a Gram matrix: together they use no more memory than the weights, or 4 MiB."""
        if name not in self._has_gram:
            fits = columns <= _MAX_COLUMNS and columns**2 <= self._gram_budget
            self._has_gram[name] = fits
            self._gram_budget -= columns**2 if fits else 0
        return self._has_gram[name]
