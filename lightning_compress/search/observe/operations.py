"""Which operations use a matrix, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

_aten = torch.ops.aten


class Watcher(AbstractContextManager[Any], Protocol):
    """Told of the uses of matrices; as a block, it watches the operations in it."""

    def see_map(self, inputs: Tensor, weight: Tensor, result: Tensor | None = None) -> None:
        """A linear map of ``inputs`` ``[…, columns]`` by ``weight`` ``[rows, columns]`` to ``result`` ``[…, rows]``."""
        ...

    def see_lookups(self, weight: Tensor, places: Tensor) -> None:
        """Rows of a matrix by their numbers."""
        ...

    def see_comparison(self, scores: Tensor, dim: int | None) -> None:
        """Scores that are compared along a dimension."""
        ...


Watch = Callable[..., None]  # of the watcher, the result of an operation, and its arguments


def _linear(watcher: Watcher, result: Tensor, inputs: Tensor, weight: Tensor, *_: Any) -> None:
    watcher.see_map(inputs, weight, result)


def _product(watcher: Watcher, result: Tensor, left: Tensor, right: Tensor) -> None:
    watcher.see_map(left, right.t(), result)
    watcher.see_map(right.t(), left)


def _sum_with_product(watcher: Watcher, result: Tensor, _added: Tensor, left: Tensor, right: Tensor, **_: Any) -> None:
    watcher.see_map(right.t(), left)
    watcher.see_map(left, right.t(), result)


def _products(watcher: Watcher, result: Tensor, left: Tensor, right: Tensor) -> None:
    """Of the matrices of two batches, one of which may be one matrix many times."""
    if right.shape[0] == 1 or not right.stride(0):
        watcher.see_map(left, right[0].t(), result)
    elif not left.stride(0):
        watcher.see_map(right.transpose(1, 2), left[0])


def _sum_with_products(watcher: Watcher, result: Tensor, _added: Tensor, left: Tensor, right: Tensor, **_: Any) -> None:
    _products(watcher, result, left, right)


def _of_vector(watcher: Watcher, result: Tensor, weight: Tensor, vector: Tensor) -> None:
    watcher.see_map(vector[None], weight, result[None])


def _sum_with_product_of_vector(
    watcher: Watcher, result: Tensor, _added: Tensor, weight: Tensor, vector: Tensor, **_: Any
) -> None:
    _of_vector(watcher, result, weight, vector)


def _embedding(watcher: Watcher, _result: Any, weight: Tensor, places: Tensor, *_: Any, **__: Any) -> None:
    watcher.see_lookups(weight, places)


def _select(watcher: Watcher, _result: Tensor, weight: Tensor, dim: int, places: Tensor) -> None:
    if not dim:
        watcher.see_lookups(weight, places)


def _index(watcher: Watcher, _result: Tensor, weight: Tensor, places: list[Tensor | None]) -> None:
    if places[0] is not None and len(places) == 1 and places[0].dtype in (torch.int64, torch.int32):
        watcher.see_lookups(weight, places[0] % len(weight))


def _along(watcher: Watcher, _result: Any, scores: Tensor, dim: int | None = None, *_: Any) -> None:
    watcher.see_comparison(scores, dim)


def _most(watcher: Watcher, _result: Any, scores: Tensor, _count: int, dim: int = -1, *_: Any) -> None:
    watcher.see_comparison(scores, dim)


OPERATIONS: Mapping[Any, Watch] = {
    _aten.linear.default: _linear,
    _aten.mm.default: _product,
    _aten.addmm.default: _sum_with_product,
    _aten._addmm_activation.default: _sum_with_product,
    _aten.bmm.default: _products,
    _aten.baddbmm.default: _sum_with_products,
    _aten.mv.default: _of_vector,
    _aten.addmv.default: _sum_with_product_of_vector,
    _aten.embedding.default: _embedding,
    _aten._embedding_bag.default: _embedding,
    _aten._embedding_bag_forward_only.default: _embedding,
    _aten.index_select.default: _select,
    _aten.index.Tensor: _index,
    _aten.argmax.default: _along,
    _aten.max.dim: _along,
    _aten._softmax.default: _along,
    _aten._log_softmax.default: _along,
    _aten.topk.default: _most,
}
