"""A small network, and the comparison of a module with a copy of its state."""

from __future__ import annotations

import torch
from torch import nn


class Net(nn.Module):
    """Two matrices, a norm, dropout, and a buffer that is not saved."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        torch.manual_seed(width)
        self.embedding = nn.Embedding(64, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, 24)
        self.register_buffer("mask", torch.ones(width), persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.dropout(self.norm(self.embedding(ids)) * self.mask))


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of everything in the state dict, and of the buffers that are not saved."""
    return {name: tensor.clone() for name, tensor in [*module.state_dict().items(), *module.named_buffers()]}


def expect_same(module: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """The module holds exactly these values."""
    after = state_of(module)
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name], tensor), name
