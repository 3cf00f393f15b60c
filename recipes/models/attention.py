"""Multi-head attention (Vaswani et al. 2017, section 3.2) whose keys and values can be kept between steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.errors import SettingsError


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention in several heads.

    Shape legend: ``b`` batch, ``q`` queries, ``k`` keys, ``d`` width, ``h`` heads, ``d/h`` width of a head.

    Args:
        width: width ``d`` of inputs and outputs.
        heads: number of heads ``h``.
        dropout: share of attention weights dropped in training, 0 to 1.

    Raises:
        SettingsError: if ``width`` is not a multiple of ``heads``.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise SettingsError(
                f"width {width} is not a multiple of heads {heads}: choose a number of heads that divides it"
            )
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.dropout = dropout
        self.softmax = nn.Softmax(dim=-1)  # a module, so that distillation can name the attention map
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def split(self, hidden: Tensor) -> Tensor:
        """``[b, n, d]`` → one row a head, ``[b, h, n, d/h]``."""
        batch, length, width = hidden.shape
        return hidden.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[b, h, k, d/h]`` of ``memory: [b, k, d]``."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        """Attend from ``hidden`` over projected keys and values.

        Args:
            hidden: ``[b, q, d]``.
            keys: ``[b, h, k, d/h]``, from :meth:`project`.
            values: ``[b, h, k, d/h]``, from :meth:`project`.
            visible: booleans that broadcast to ``[b, h, q, k]``, true where a key may be seen; ``None``: all.

        Returns:
            ``[b, q, d]``.
        """
        # Written out, because on short sentences torch's fused kernel trains several times slower on a CPU.
        query = self.split(self.query(hidden)) * self.scale
        energy = query @ keys.transpose(2, 3)
        if visible is not None:
            energy = energy.masked_fill(~visible, float("-inf"))
        weights = F.dropout(self.softmax(energy), self.dropout, self.training)
        mixed = weights.to(values.dtype) @ values
        out: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return out


def causal_mask(length: int, seen: int, device: torch.device) -> Tensor:
    """``[length, seen + length]``: each of ``length`` new words sees itself and all words before it."""
    return torch.ones(length, seen + length, dtype=torch.bool, device=device).tril(seen)
