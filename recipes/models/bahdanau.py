"""Normalized additive attention (Bahdanau et al. 2015, appendix A.1.2; Salimans and Kingma 2016, section 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NormalizedAttention(nn.Module):
    """Additive attention with a weight-normalized scoring vector.

    The energy of a query ``q`` and a source position ``m`` is ``g · v/|v| · tanh(W q + U m + c)``; the weights
    of the source positions are the softmax of their energies.

    Shape legend: ``b`` batch, ``n`` queries, ``s`` source positions, ``q`` width of queries, ``m`` width of the
    memory, ``a`` width of the energies. One call makes a tensor of ``b · n · s · a`` numbers.

    Args:
        query_width: width ``q``.
        memory_width: width ``m``.
        width: width ``a``.
    """

    def __init__(self, query_width: int, memory_width: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_width, width, bias=False)
        self.key = nn.Linear(memory_width, width)
        self.direction = nn.Parameter(torch.empty(width).uniform_(-1.0, 1.0))
        self.length = nn.Parameter(torch.tensor(1.0))

    def project(self, memory: Tensor) -> Tensor:
        """Keys ``[b, s, a]`` of ``memory: [b, s, m]``: the part of the energies that no query changes."""
        keys: Tensor = self.key(memory)
        return keys

    def weigh(self, queries: Tensor, keys: Tensor, visible: Tensor) -> Tensor:
        """Weights ``[b, n, s]`` of the source positions; they are 0 where ``visible`` is false, and sum to 1."""
        vector = self.length * F.normalize(self.direction, dim=0)
        energies = torch.tanh(self.query(queries)[:, :, None] + keys[:, None]) @ vector
        return energies.masked_fill(~visible[:, None], float("-inf")).softmax(dim=-1)

    def forward(self, queries: Tensor, keys: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Mix the memory for each query.

        Args:
            queries: ``[b, n, q]``.
            keys: ``[b, s, a]``, from :meth:`project`.
            memory: ``[b, s, m]``.
            visible: ``[b, s]``, false where the source is padding; each row true somewhere.

        Returns:
            contexts ``[b, n, m]``.
        """
        return self.weigh(queries, keys, visible).to(memory.dtype) @ memory
