"""Watching the operations of an evaluation, as they reach the kernels.

Parameters are known by their memory and operations by what they compute, so every module is served alike: linear maps,
attention, recurrent layers, embeddings, tied tables, functions of the caller's own. Nothing is changed: the same
kernels get the same tensors in the same order. (In inference mode torch multiplies a tensor of three dimensions that is
not contiguous in another way where operations are watched, which may change its last bit.) What cannot be watched is
left out: other processes and threads, copies of weights in another type, convolutions.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lightning_compress.search.observe.fused_layers import LAYERS
from lightning_compress.search.observe.operations import OPERATIONS
from lightning_compress.search.observe.statistics import Observation
from lightning_compress.weights.bindings import Binding

_log = logging.getLogger(__name__)
_WATCHED = {**OPERATIONS, **LAYERS}
_WIDEST = 4096  # columns: products of wider inputs would outweigh the matrices
_ROOM = 1 << 20  # numbers, for all products of a small model


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A block in which the uses of matrices are observed.

    Args:
        bindings: name of a stored tensor → the parameters that hold it; matrices are watched, others left out.
        observations: name → what was seen so far, which is added to.
    """

    supports_higher_order_operators = True

    def __init__(self, bindings: Mapping[str, Sequence[Binding]], observations: dict[str, Observation]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._observations = observations
        self._known: dict[int, list[tuple[str, Tensor]]] = {}  # storage → the matrices in it
        self._last: tuple[Tensor, Observation] | None = None  # what the last map gave, if it was a whole matrix
        self._with_products: dict[str, bool] = {}
        parameters = [(name, binding.parameter) for name, group in bindings.items() for binding in group]
        self._room = max(_ROOM, sum(parameter.numel() for _, parameter in parameters))
        for name, parameter in parameters:
            if parameter.ndim == 2 and min(parameter.shape) > 1 and parameter.is_contiguous():
                self._known.setdefault(_storage(parameter), []).append((name, parameter.detach()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation, and look at it if it is one that uses matrices."""
        kwargs = kwargs or {}
        if func not in _WATCHED:
            if isinstance(func, torch._ops.OpOverload):
                with self:  # in inference mode operations arrive whole that are made of others
                    result = func.decompose(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        try:
            with torch.no_grad():
                _WATCHED[func](self, result, *args, **kwargs)
        except Exception as error:  # whatever it is, the evaluation goes on, and this use is not observed
            _log.debug("%s is not observed: %s: %s", func, type(error).__name__, error)
        return result

    def see_map(self, inputs: Tensor, weight: Tensor, result: Tensor | None = None) -> None:
        """See :class:`Watcher`."""
        if result is not None:
            self._last = None
        name, observation = self._observation(weight)
        if observation is None:
            return
        if self._takes_products(name, observation.columns):
            observation.see_inputs(inputs, len(weight))
        if result is not None and len(weight) == observation.rows:
            self._last = result, observation

    def see_lookups(self, weight: Tensor, places: Tensor) -> None:
        """See :class:`Watcher`."""
        _, observation = self._observation(weight)
        if observation is not None and len(weight) == observation.rows:
            observation.see_lookups(places)

    def see_comparison(self, scores: Tensor, dim: int | None) -> None:
        """See :class:`Watcher`; scores are answers if they are what the last map gave, or a part of it."""
        if self._last is None or dim is None or dim % scores.ndim != scores.ndim - 1:
            return
        result, observation = self._last
        if scores.shape[-1] == observation.rows and _storage(scores) == _storage(result):
            observation.see_answers(scores)
            self._last = None

    def _observation(self, weight: Tensor) -> tuple[str, Observation | None]:
        """Of the matrix that a tensor is, or a part of whose rows it is."""
        for name, matrix in self._known.get(_storage(weight), ()):
            rows, columns = matrix.shape
            first, rest = divmod(int(weight.storage_offset() - matrix.storage_offset()), columns)
            dense = weight.ndim == 2 and weight.shape[1] == columns and weight.stride() == (columns, 1)
            if dense and not rest and 0 <= first <= rows - len(weight) and weight.dtype == matrix.dtype:
                return name, self._observations.setdefault(name, Observation(rows, columns))
        return "", None

    def _takes_products(self, name: str, columns: int) -> bool:
        """Whether products of inputs are summed up: all together take no more memory than the weights, or 4 MiB."""
        if name not in self._with_products:
            fits = columns <= _WIDEST and columns**2 <= self._room
            self._with_products[name] = fits
            self._room -= columns**2 if fits else 0
        return self._with_products[name]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
