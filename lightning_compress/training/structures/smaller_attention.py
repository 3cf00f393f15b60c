"""An attention whose heads are fewer than its width would hold, in place of ``nn.MultiheadAttention``."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_compress.errors import TrainingError


class SmallerAttention(nn.Module):
    """``nn.MultiheadAttention`` (Vaswani et al. 2017, section 3.2.2) with any number of heads, and its parameters.

    Inputs and outputs have the width of the original. Averages of attention weights are over the heads that are left.
    ``torch.nn.MultiheadAttention`` itself requires that all heads together are as wide as its input.

    Shape legend: ``b`` batch, ``q`` queries, ``k`` keys, ``e`` width, ``h`` heads.

    Args:
        like: the attention. Its parameters are taken over, not copied.
    """

    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    q_proj_weight: Tensor
    k_proj_weight: Tensor
    v_proj_weight: Tensor
    _qkv_same_embed_dim = False  # nn.TransformerEncoderLayer then does not read the parameters past this module

    def __init__(self, like: nn.MultiheadAttention) -> None:
        super().__init__()
        self.embed_dim, self.num_heads, self.dropout = like.embed_dim, like.num_heads, like.dropout
        self.batch_first = like.batch_first
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"):
            self.register_parameter(name, getattr(like, name))
        self.out_proj = like.out_proj
        self.train(like.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention.forward``: outputs ``[b, q, e]``, and weights ``[b, q, k]`` or ``[b, h, q, k]``.

        Raises:
            TrainingError: the mask has a row for each of the original heads.
        """
        is_batched = query.dim() == 3
        if not is_batched:
            query, key, value = (each[None] for each in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        queries, keys, values = (self._split(each) for each in self._projected(query, key, value))
        mask = _merged(key_padding_mask, attn_mask, queries.dtype)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            energies = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
            weights = (energies if mask is None else energies + mask).softmax(-1)
            weights = F.dropout(weights, dropout)
            mixed = weights @ values
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = F.scaled_dot_product_attention(queries, keys, values, mask, dropout)
        output: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not is_batched:
            return output[0], None if weights is None else weights[0]
        return output if self.batch_first else output.transpose(0, 1), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        if self.in_proj_weight is not None:
            weights = list(self.in_proj_weight.chunk(3))
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        return [F.linear(*each) for each in zip((query, key, value), weights, biases, strict=True)]

    def _split(self, hidden: Tensor) -> Tensor:
        """``[b, n, h · size]`` → ``[b, h, n, size]``."""
        return hidden.reshape(*hidden.shape[:2], self.num_heads, -1).transpose(1, 2)


def _merged(padding: Tensor | None, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Both masks as numbers to add, broadcasting to ``[b, h, q, k]``."""
    if mask is not None and mask.dim() == 3:
        raise TrainingError(
            f"the attention mask is {list(mask.shape)}, with rows for each of the original heads, of which some are "
            "removed: give a mask [queries, keys], and padding as key_padding_mask"
        )
    parts = [None if padding is None else _additive(padding, dtype)[:, None, None], mask]
    known = [_additive(each, dtype) for each in parts if each is not None]
    return sum(known[1:], known[0]) if known else None


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(mask, -torch.inf)
