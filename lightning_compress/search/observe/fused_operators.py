"""Handlers of fused kernels, which compute a recurrent network or an attention layer as one operator.

The products inside a fused kernel are not visible. Its handler recomputes them from smaller operators for every fourth
sequence, and discards the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_compress.search.observe.operator_handlers import Handler, UsageRecorder

_aten = torch.ops.aten
_STRIDE = 4  # every fourth sequence is recomputed


def _recurrent_layer(
    recorder: UsageRecorder,
    result: Sequence[Tensor],
    inputs: Tensor,
    input_weight: Tensor,
    state_weight: Tensor,
    _input_bias: Tensor,
    _state_bias: Tensor,
    state: Tensor,
    _cell: Tensor,
    backward: bool,
    *_: object,
) -> None:
    """One layer and direction ``[steps, batch, columns]``; the state of a step is the output of the step before."""
    recorder.record_matmul(inputs, input_weight)
    outputs, first = result[0], state.reshape(1, *result[0].shape[1:])
    recorder.record_matmul(torch.cat([outputs[1:], first] if backward else [first, outputs[:-1]]), state_weight)


def _recurrent_layers(
    recorder: UsageRecorder,
    _result: object,
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
    bidirectional: bool,
    batch_sizes: Sequence[int],
    *_: object,
) -> None:
    """All layers of a recurrent network, padded or packed, in one cuDNN call."""
    network = (_aten.rnn_relu, _aten.rnn_tanh, _aten.lstm, _aten.gru)[mode]
    states = [s[:, ::_STRIDE].contiguous() for s in (state, cell) if s is not None]
    start = states if len(states) > 1 else states[0]
    arguments = (start, list(weights), per_layer - bool(projected) > 2, layers, 0.0, False, bidirectional)
    with torch.backends.cudnn.flags(enabled=False), recorder:
        if not batch_sizes:
            network.input(inputs[::_STRIDE] if batch_first else inputs[:, ::_STRIDE], *arguments, batch_first)
            return
        steps = torch.split(inputs, list(batch_sizes))
        sizes = torch.tensor([len(step[::_STRIDE]) for step in steps])
        network.data(torch.cat([step[::_STRIDE] for step in steps]), sizes, *arguments)


def _attention(
    recorder: UsageRecorder,
    _result: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    columns: int,
    heads: int,
    *arguments: Any,  # the further ones of the operator, of several types
) -> None:
    weights, mask, mask_type = arguments[:4], *_mask_of(arguments[4:5] + arguments[7:8])
    attend = _attention_function(recorder, columns, heads, *weights)
    for sampled, sampled_mask in _sampled((query, key, value), mask, mask_type):
        attend(*sampled, sampled_mask, mask_type)


def _encoder_layer(
    recorder: UsageRecorder,
    _result: object,
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
    *arguments: Any,  # the further ones of the operator, of several types
) -> None:
    norms, linears = arguments[:4], arguments[4:8]
    mask, mask_type = _mask_of(arguments[8:])
    attend = _attention_function(recorder, columns, heads, qkv_weight, qkv_bias, out_weight, out_bias)
    activation: Callable[[Tensor], Tensor] = F.gelu if use_gelu else F.relu

    def norm(x: Tensor, number: int) -> Tensor:
        return F.layer_norm(x, (columns,), norms[2 * number], norms[2 * number + 1], epsilon)

    def feed_forward(x: Tensor) -> Tensor:
        with recorder:
            return F.linear(activation(F.linear(x, linears[0], linears[1])), linears[2], linears[3])

    for (x,), sampled_mask in _sampled((inputs,), mask, mask_type):
        if norm_first:
            y = norm(x, 0)
            x = x + attend(y, y, y, sampled_mask, mask_type)
            feed_forward(norm(x, 1))
        else:
            feed_forward(norm(x + attend(x, x, x, sampled_mask, mask_type), 0))


def _mask_of(arguments: Sequence[Any]) -> tuple[Tensor | None, int | None]:
    """Mask and its type: 0 ``[queries, keys]``, 1 ``[batch, keys]``, 2 ``[batch, heads, queries, keys]``."""
    mask, mask_type = (*arguments, None, None)[:2]
    return mask, mask_type


def _sampled(
    tensors: Sequence[Tensor], mask: Tensor | None, mask_type: int | None
) -> Iterable[tuple[Sequence[Tensor], Tensor | None]]:
    """Every fourth sequence of tensors ``[batch, length, columns]`` and its mask; nested tensors give one at a time."""
    if tensors[0].is_nested:
        sequences = zip(*(tensor.unbind()[::_STRIDE] for tensor in tensors), strict=True)
        return [([sequence[None] for sequence in group], None) for group in sequences]
    sampled_mask = mask if mask is None or not mask_type else mask[::_STRIDE]
    return [([tensor[::_STRIDE] for tensor in tensors], sampled_mask)]


def _attention_function(
    recorder: UsageRecorder,
    columns: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> Callable[..., Tensor]:
    """Multi-head attention of tensors ``[batch, length, columns]``, computed from observable operators."""

    def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, mask_type: int | None) -> Tensor:
        padding_mask = mask if mask_type == 1 else None
        attention_mask = None if mask is None or mask_type == 1 else mask if mask.ndim == 2 else mask.flatten(0, 1)
        with recorder:
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
                key_padding_mask=padding_mask,
                attn_mask=attention_mask,
                need_weights=False,
            )
        return result.transpose(0, 1)

    return attend


FUSED_OPERATORS: Mapping[Any, Handler] = {
    _aten.mkldnn_rnn_layer.default: _recurrent_layer,
    _aten._cudnn_rnn.default: _recurrent_layers,
    _aten._native_multi_head_attention.default: _attention,
    _aten._transformer_encoder_layer_fwd.default: _encoder_layer,
}
