"""Greedy translation with the keys and values of earlier words kept, for the Transformer of ``yardstick.py``.

The yardstick's own ``greedy`` computes the whole prefix anew for each word; the words are the same. Keys and values of
a position do not depend on later ones (Vaswani et al. 2017, "Attention is all you need", section 3.2.3).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

PAD, BOS, EOS = 0, 1, 2


@torch.no_grad()
def greedy(model: Any, source: Tensor, limit: int) -> Tensor:
    """The words ``[sentences, length]`` that the model answers with.

    Args:
        model: with the weights loaded.
        source: ``[sentences, length]``.
        limit: words of a translation at most.
    """
    return _cached(model, source, limit) if hasattr(model, "pe") else model.greedy(source, limit=limit)


def _cached(model: Any, source: Tensor, limit: int) -> Tensor:
    padding = source == PAD
    memory = model.encoder(model.embed(model.src_embedding, source), src_key_padding_mask=padding)
    hidden = [padding[:, None, None]]
    across = [_projected(layer.multihead_attn, memory, (1, 2)) for layer in model.decoder.layers]
    before: list[list[Tensor]] = [[] for _ in across]
    word = torch.full((len(source), 1), BOS)
    done, out = torch.zeros(len(source), dtype=torch.bool), []
    for position in range(limit):
        x = model.tgt_embedding(word) * math.sqrt(model.d) + model.pe[position]
        for layer, (key, value), known in zip(model.decoder.layers, across, before, strict=True):
            query, *own = _projected(layer.self_attn, layer.norm1(x), (0, 1, 2))
            known[:] = [torch.cat(pair, 2) for pair in zip(known, own, strict=True)] if known else own
            x = x + _attended(layer.self_attn, query, known[0], known[1], None)
            (query,) = _projected(layer.multihead_attn, layer.norm2(x), (0,))
            x = x + _attended(layer.multihead_attn, query, key, value, hidden[0])
            x = x + layer.linear2(layer.activation(layer.linear1(layer.norm3(x))))
        word = model.softmax(model.decoder.norm(x)).argmax(-1)
        word[done] = PAD
        out.append(word)
        done |= word[:, 0] == EOS
        if done.all():
            break
    return torch.cat(out, 1)


def _projected(attention: nn.MultiheadAttention, x: Tensor, which: tuple[int, ...]) -> list[Tensor]:
    """Query, key and value (0, 1, 2), ``[sentences, heads, length, size]`` each."""
    weight, bias = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    shape = (*x.shape[:2], attention.num_heads, -1)
    return [nn.functional.linear(x, weight[k], bias[k]).view(shape).transpose(1, 2) for k in which]


def _attended(attention: Any, query: Tensor, key: Tensor, value: Tensor, hidden: Tensor | None) -> Tensor:
    mask = None if hidden is None else ~hidden
    mixed = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    answer: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return answer
