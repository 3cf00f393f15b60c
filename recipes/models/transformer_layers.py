"""Layers of the Transformer (Vaswani et al. 2017, section 3): attention, feed-forward, residuals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.models.attention import MultiHeadAttention


@dataclass(frozen=True)
class LayerState:
    """Keys and values in one decoder layer, each ``[b, h, n, d/h]``: of the words so far, of the source."""

    keys: Tensor
    values: Tensor
    source_keys: Tensor
    source_values: Tensor


class Sublayer(nn.Module):
    """Residual connection, dropout and layer norm around one sublayer.

    Args:
        width: width ``d`` of the residual stream.
        dropout: share dropped from the sublayer's output in training, 0 to 1.
        norm: ``"pre"`` normalizes what the sublayer reads, ``"post"`` the sum (as in the original paper).
    """

    def __init__(self, width: int, *, dropout: float, norm: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.pre = norm == "pre"

    def before(self, hidden: Tensor) -> Tensor:
        """What the sublayer reads."""
        normed: Tensor = self.norm(hidden) if self.pre else hidden
        return normed

    def after(self, hidden: Tensor, output: Tensor) -> Tensor:
        """The residual stream with the sublayer's ``output`` added."""
        total: Tensor = hidden + self.dropout(output)
        normed: Tensor = total if self.pre else self.norm(total)
        return normed


class FeedForward(nn.Module):
    """Two linear maps with a ReLU between (Vaswani et al. 2017, section 3.3)."""

    def __init__(self, width: int, inner: int, *, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, width]`` → ``[…, width]``."""
        out: Tensor = self.output(self.dropout(F.relu(self.inner(hidden))))
        return out


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of one encoder or decoder layer; each is explained at :class:`Transformer`."""

    width: int
    heads: int
    feed_forward: int
    dropout: float
    attention_dropout: float
    relu_dropout: float
    norm: str

    def attention(self) -> MultiHeadAttention:
        """A new attention of these sizes."""
        return MultiHeadAttention(self.width, self.heads, dropout=self.attention_dropout)

    def transform(self) -> FeedForward:
        """A new feed-forward sublayer of these sizes."""
        return FeedForward(self.width, self.feed_forward, dropout=self.relu_dropout)

    def sublayer(self) -> Sublayer:
        """A new residual connection of these sizes."""
        return Sublayer(self.width, dropout=self.dropout, norm=self.norm)

    def final_norm(self) -> nn.Module:
        """Pre-norm leaves the residual stream unnormalized at the top; post-norm does not."""
        return nn.LayerNorm(self.width) if self.norm == "pre" else nn.Identity()


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.attention = sizes.attention()
        self.attention_sublayer = sizes.sublayer()
        self.feed_forward = sizes.transform()
        self.feed_forward_sublayer = sizes.sublayer()

    def forward(self, hidden: Tensor, visible: Tensor) -> Tensor:
        """``hidden: [b, s, d]``, ``visible: [b, 1, 1, s]`` → ``[b, s, d]``."""
        # 1. every position of the source
        query = self.attention_sublayer.before(hidden)
        mixed = self.attention(query, *self.attention.project(query), visible)
        hidden = self.attention_sublayer.after(hidden, mixed)
        # 2. each position by itself
        inner = self.feed_forward(self.feed_forward_sublayer.before(hidden))
        return self.feed_forward_sublayer.after(hidden, inner)


class DecoderLayer(nn.Module):
    """Self-attention over the words so far, attention over the source, then feed-forward."""

    def __init__(self, sizes: LayerSizes) -> None:
        super().__init__()
        self.attention = sizes.attention()
        self.attention_sublayer = sizes.sublayer()
        self.source_attention = sizes.attention()
        self.source_sublayer = sizes.sublayer()
        self.feed_forward = sizes.transform()
        self.feed_forward_sublayer = sizes.sublayer()

    def start(self, memory: Tensor) -> LayerState:
        """State before the first word, for the encoded source ``memory: [b, s, d]``."""
        source_keys, source_values = self.source_attention.project(memory)
        return LayerState(*self.attention.project(memory[:, :0]), source_keys, source_values)

    def forward(
        self, hidden: Tensor, state: LayerState, causal: Tensor | None, visible: Tensor
    ) -> tuple[Tensor, LayerState]:
        """Read ``n`` more words.

        Args:
            hidden: ``[b, n, d]``.
            state: before these words.
            causal: ``[n, seen + n]``, which words each may see; ``None``: all.
            visible: ``[b, 1, 1, s]``, false where the source is padding.

        Returns:
            ``[b, n, d]``, and the state after these words.
        """
        # 1. the words so far, this step's among them
        query = self.attention_sublayer.before(hidden)
        new_keys, new_values = self.attention.project(query)
        keys = torch.cat([state.keys, new_keys], dim=2)
        values = torch.cat([state.values, new_values], dim=2)
        hidden = self.attention_sublayer.after(hidden, self.attention(query, keys, values, causal))
        # 2. the source
        query = self.source_sublayer.before(hidden)
        mixed = self.source_attention(query, state.source_keys, state.source_values, visible)
        hidden = self.source_sublayer.after(hidden, mixed)
        # 3. each position by itself
        inner = self.feed_forward(self.feed_forward_sublayer.before(hidden))
        hidden = self.feed_forward_sublayer.after(hidden, inner)
        return hidden, LayerState(keys, values, state.source_keys, state.source_values)
