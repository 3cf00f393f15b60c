"""Layers that a kernel computes as a whole: what happens inside is seen by computing a part of it once more.

A fourth of the sequences is taken, and what comes out is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_compress.search.observe.operations import Watch, Watcher

_aten = torch.ops.aten
_EVERY = 4  # of the sequences, one is computed once more


def _recurrent_layer(
    watcher: Watcher,
    result: Sequence[Tensor],
    inputs: Tensor,
    input_weight: Tensor,
    state_weight: Tensor,
    _input_bias: Tensor,
    _state_bias: Tensor,
    state: Tensor,
    _cell: Tensor,
    backward: bool,
    *_: Any,
) -> None:
    """One layer and direction ``[steps, batch, columns]``; each step's state is what came out at the one before."""
    watcher.see_map(inputs, input_weight)
    outputs, first = result[0], state.reshape(1, *result[0].shape[1:])
    watcher.see_map(torch.cat([outputs[1:], first] if backward else [first, outputs[:-1]]), state_weight)


def _recurrent_layers(
    watcher: Watcher,
    _result: Any,
    inputs: Tensor,
    weights: Sequence[Tensor],
    per_layer: int,
    _buffer: Tensor | None,
    state: Tensor,
    cell: Tensor | None,
    mode: int,
    _hidden: int,
    projected: int,
    layers: int,
    batch_first: bool,
    _dropout: float,
    _train: bool,
    both_ways: bool,
    batch_sizes: Sequence[int],
    *_: Any,
) -> None:
    """All layers of a recurrent network, padded or packed, as cuDNN computes them."""
    kind = (_aten.rnn_relu, _aten.rnn_tanh, _aten.lstm, _aten.gru)[mode]
    states = [s[:, ::_EVERY].contiguous() for s in (state, cell) if s is not None]
    start = states if len(states) > 1 else states[0]
    shared = (start, list(weights), per_layer - bool(projected) > 2, layers, 0.0, False, both_ways)
    with torch.backends.cudnn.flags(enabled=False), watcher:
        if not batch_sizes:
            kind.input(inputs[::_EVERY] if batch_first else inputs[:, ::_EVERY], *shared, batch_first)
            return
        steps = torch.split(inputs, list(batch_sizes))
        sizes = torch.tensor([len(step[::_EVERY]) for step in steps])
        kind.data(torch.cat([step[::_EVERY] for step in steps]), sizes, *shared)


def _attention(
    watcher: Watcher,
    _result: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    columns: int,
    heads: int,
    *arguments: Any,
) -> None:
    weights, mask, kind = arguments[:4], *_mask_of(arguments[4:5] + arguments[7:8])
    attend = _attending(watcher, columns, heads, *weights)
    for parts, masked in _parts((query, key, value), mask, kind):
        attend(*parts, masked, kind)


def _encoder_layer(
    watcher: Watcher,
    _result: Any,
    inputs: Tensor,
    columns: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    out_weight: Tensor,
    out_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    epsilon: float,
    *arguments: Any,
) -> None:
    norms, maps = arguments[:4], arguments[4:8]
    mask, kind = _mask_of(arguments[8:])
    attend = _attending(watcher, columns, heads, qkv_weight, qkv_bias, out_weight, out_bias)
    activation: Callable[[Tensor], Tensor] = F.gelu if use_gelu else F.relu

    def norm(x: Tensor, number: int) -> Tensor:
        return F.layer_norm(x, (columns,), norms[2 * number], norms[2 * number + 1], epsilon)

    def feed_forward(x: Tensor) -> Tensor:
        with watcher:
            return F.linear(activation(F.linear(x, maps[0], maps[1])), maps[2], maps[3])

    for (x,), masked in _parts((inputs,), mask, kind):
        if norm_first:
            y = norm(x, 0)
            x = x + attend(y, y, y, masked, kind)
            feed_forward(norm(x, 1))
        else:
            feed_forward(norm(x + attend(x, x, x, masked, kind), 0))


def _mask_of(arguments: Sequence[Any]) -> tuple[Tensor | None, int | None]:
    """Mask and its kind: 0 of ``[queries, keys]``, 1 of ``[batch, keys]``, 2 of ``[batch, heads, queries, keys]``."""
    mask, kind = (*arguments, None, None)[:2]
    return mask, kind


def _parts(
    tensors: Sequence[Tensor], mask: Tensor | None, kind: int | None
) -> Iterable[tuple[Sequence[Tensor], Tensor | None]]:
    """Some of the sequences of each tensor ``[batch, length, columns]``, and their mask; nested ones one by one."""
    if tensors[0].is_nested:
        apart = zip(*(tensor.unbind()[::_EVERY] for tensor in tensors), strict=True)
        return [([part[None] for part in parts], None) for parts in apart]
    some = mask if mask is None or not kind else mask[::_EVERY]
    return [([tensor[::_EVERY] for tensor in tensors], some)]


def _attending(
    watcher: Watcher, columns: int, heads: int, qkv_weight: Tensor, qkv_bias: Tensor, weight: Tensor, bias: Tensor
) -> Callable[..., Tensor]:
    """Attention of ``[batch, length, columns]``, computed part by part."""

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kind: int | None) -> Tensor:
        padding = mask if kind == 1 else None
        hidden = None if mask is None or kind == 1 else mask if mask.ndim == 2 else mask.flatten(0, 1)
        with watcher:
            result, _ = F.multi_head_attention_forward(
                query.transpose(0, 1),
                key.transpose(0, 1),
                value.transpose(0, 1),
                columns,
                heads,
                qkv_weight,
                qkv_bias,
                None,
                None,
                False,
                0.0,
                weight,
                bias,
                training=False,
                key_padding_mask=padding,
                attn_mask=hidden,
                need_weights=False,
            )
        return result.transpose(0, 1)

    return attend


LAYERS: Mapping[Any, Watch] = {
    _aten.mkldnn_rnn_layer.default: _recurrent_layer,
    _aten._cudnn_rnn.default: _recurrent_layers,
    _aten._native_multi_head_attention.default: _attention,
    _aten._transformer_encoder_layer_fwd.default: _encoder_layer,
}
