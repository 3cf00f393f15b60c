"""Handlers of the ATen operators that use a weight matrix: products, embedding lookups, and softmax or argmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor

_aten = torch.ops.aten


class UsageRecorder(AbstractContextManager[Any], Protocol):
    """Records how matrices are used; as a context manager, it observes the operators inside its block."""

    def record_matmul(self, inputs: Tensor, weight: Tensor, result: Tensor | None = None) -> None:
        """Record ``result = inputs @ weight.T``: ``[…, columns]`` by ``[rows, columns]`` gives ``[…, rows]``."""
        ...

    def record_embedding_lookup(self, weight: Tensor, indices: Tensor) -> None:
        """Record the row indices that were looked up in ``weight`` ``[rows, columns]``."""
        ...

    def record_softmax(self, logits: Tensor, dim: int | None) -> None:
        """Record a softmax, or another comparison such as argmax, along ``dim`` of ``logits``; None for all."""
        ...


Handler = Callable[..., None]  # arguments: the recorder, the operator's result, the operator's own arguments


def _linear(recorder: UsageRecorder, result: Tensor, inputs: Tensor, weight: Tensor, *_: object) -> None:
    recorder.record_matmul(inputs, weight, result)


def _mm(recorder: UsageRecorder, result: Tensor, left: Tensor, right: Tensor) -> None:
    recorder.record_matmul(left, right.t(), result)
    recorder.record_matmul(right.t(), left)


def _addmm(recorder: UsageRecorder, result: Tensor, _added: Tensor, left: Tensor, right: Tensor, **_: object) -> None:
    recorder.record_matmul(right.t(), left)
    recorder.record_matmul(left, right.t(), result)


def _bmm(recorder: UsageRecorder, result: Tensor, left: Tensor, right: Tensor) -> None:
    """Batched product; one side may be a single matrix that is expanded over the batch."""
    if right.shape[0] == 1 or not right.stride(0):
        recorder.record_matmul(left, right[0].t(), result)
    elif not left.stride(0):
        recorder.record_matmul(right.transpose(1, 2), left[0])


def _baddbmm(recorder: UsageRecorder, result: Tensor, _added: Tensor, left: Tensor, right: Tensor, **_: object) -> None:
    _bmm(recorder, result, left, right)


def _mv(recorder: UsageRecorder, result: Tensor, weight: Tensor, vector: Tensor) -> None:
    recorder.record_matmul(vector[None], weight, result[None])


def _addmv(
    recorder: UsageRecorder, result: Tensor, _added: Tensor, weight: Tensor, vector: Tensor, **_: object
) -> None:
    _mv(recorder, result, weight, vector)


def _embedding(
    recorder: UsageRecorder, _result: object, weight: Tensor, indices: Tensor, *_: object, **__: object
) -> None:
    recorder.record_embedding_lookup(weight, indices)


def _index_select(recorder: UsageRecorder, _result: Tensor, weight: Tensor, dim: int, indices: Tensor) -> None:
    if not dim:
        recorder.record_embedding_lookup(weight, indices)


def _index(recorder: UsageRecorder, _result: Tensor, weight: Tensor, indices: list[Tensor | None]) -> None:
    if indices[0] is not None and len(indices) == 1 and indices[0].dtype in (torch.int64, torch.int32):
        recorder.record_embedding_lookup(weight, indices[0] % len(weight))


def _softmax(recorder: UsageRecorder, _result: object, logits: Tensor, dim: int | None = None, *_: object) -> None:
    recorder.record_softmax(logits, dim)


def _topk(recorder: UsageRecorder, _result: object, logits: Tensor, _k: int, dim: int = -1, *_: object) -> None:
    recorder.record_softmax(logits, dim)


OPERATORS: Mapping[Any, Handler] = {
    _aten.linear.default: _linear,
    _aten.mm.default: _mm,
    _aten.addmm.default: _addmm,
    _aten._addmm_activation.default: _addmm,
    _aten.bmm.default: _bmm,
    _aten.baddbmm.default: _baddbmm,
    _aten.mv.default: _mv,
    _aten.addmv.default: _addmv,
    _aten.embedding.default: _embedding,
    _aten._embedding_bag.default: _embedding,
    _aten._embedding_bag_forward_only.default: _embedding,
    _aten.index_select.default: _index_select,
    _aten.index.Tensor: _index,
    _aten.argmax.default: _softmax,
    _aten.max.dim: _softmax,
    _aten._softmax.default: _softmax,
    _aten._log_softmax.default: _softmax,
    _aten.topk.default: _topk,
}
