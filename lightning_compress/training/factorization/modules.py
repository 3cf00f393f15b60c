"""Linear maps, embeddings and convolutions whose weight is a product of two thin matrices.

Each computes with its factors one after the other, so a forward pass takes as many operations as there are weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_compress.errors import TrainingError
from lightning_compress.training.factorization.separable import SeparableConv2d


class FactoredLinear(nn.Module):
    """``nn.Linear`` with the weight ``left @ right``.

    Args:
        in_features: width of the input.
        out_features: width of the output.
        rank: width between the factors.
        bias: whether something is added to the output.

    Attributes:
        left: ``[out_features, rank]``.
        right: ``[rank, in_features]``.
        bias: ``[out_features]``, or None.
    """

    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, rank: int, *, bias: bool = True) -> None:
        super().__init__()
        _check_rank(rank)
        self.in_features, self.out_features = in_features, out_features
        self.left = nn.Parameter(torch.empty(out_features, rank))
        self.right = nn.Parameter(torch.empty(rank, in_features))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_features)) if bias else None)
        for factor in (self.left, self.right):
            nn.init.xavier_uniform_(factor)

    @property
    def weight(self) -> Tensor:
        """``[out_features, in_features]``, for modules that read the weight of another, such as attention."""
        return self.left @ self.right

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, in_features]`` → ``[…, out_features]``."""
        return F.linear(F.linear(hidden, self.right), self.left, self.bias)


class FactoredEmbedding(nn.Module):
    """``nn.Embedding`` with the table ``left @ right``: a narrow table, and a projection that all words share.

    Z. Lan et al. 2020, "ALBERT", section 3.1, "Factorized embedding parameterization".

    Args:
        num_embeddings: rows of the table.
        embedding_dim: width of the output.
        rank: width of the narrow table.
        padding_idx: a row that is not trained; None for none.

    Attributes:
        left: ``[num_embeddings, rank]``.
        right: ``[rank, embedding_dim]``.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, rank: int, *, padding_idx: int | None = None) -> None:
        super().__init__()
        _check_rank(rank)
        self.num_embeddings, self.embedding_dim, self.padding_idx = num_embeddings, embedding_dim, padding_idx
        self.left = nn.Parameter(torch.empty(num_embeddings, rank))
        self.right = nn.Parameter(torch.empty(rank, embedding_dim))
        nn.init.normal_(self.left, std=rank**-0.5)
        nn.init.normal_(self.right, std=embedding_dim**-0.5)
        if padding_idx is not None:
            with torch.no_grad():
                self.left[padding_idx].zero_()

    @property
    def weight(self) -> Tensor:
        """``[num_embeddings, embedding_dim]``."""
        return self.left @ self.right

    def forward(self, words: Tensor) -> Tensor:
        """Ids ``[…]`` → ``[…, embedding_dim]``."""
        return F.linear(F.embedding(words, self.left, self.padding_idx), self.right.t())


class FactoredConv2d(nn.Module):
    """``nn.Conv2d`` as a convolution to few channels and one of 1 × 1 to all.

    X. Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks for Classification and Detection", section 3.1.

    Args:
        like: the convolution, without groups.
        rank: channels between the two.
    """

    def __init__(self, like: nn.Conv2d, rank: int) -> None:
        super().__init__()
        _check_rank(rank)
        self.first = nn.Conv2d(
            like.in_channels,
            rank,
            _pair(like.kernel_size),
            _pair(like.stride),
            like.padding if isinstance(like.padding, str) else _pair(like.padding),
            _pair(like.dilation),
            bias=False,
            padding_mode=like.padding_mode,
        )
        self.second = nn.Conv2d(rank, like.out_channels, 1, bias=like.bias is not None)

    def forward(self, features: Tensor) -> Tensor:
        """``[batch, in_channels, height, width]`` → ``[batch, out_channels, …]``."""
        found: Tensor = self.second(self.first(features))
        return found


Factored = FactoredLinear | FactoredEmbedding | FactoredConv2d | SeparableConv2d
KINDS = (FactoredLinear, FactoredEmbedding, FactoredConv2d, SeparableConv2d)


def is_factorable(module: nn.Module) -> bool:
    """Whether a module has a form with factors: a plain linear map, embedding or convolution without groups."""
    if isinstance(module, nn.Embedding):
        return type(module) is nn.Embedding and not (module.max_norm or module.sparse or module.scale_grad_by_freq)
    if isinstance(module, nn.Conv2d):
        return type(module) is nn.Conv2d and module.groups == 1
    return type(module) in (nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear)


def factored(module: nn.Module, rank: int, *, is_separable: bool = False) -> Factored:
    """A module of the same sizes with factors of that rank, on its device and in its dtype, with new weights."""
    weight = module.get_parameter("weight")
    new: Factored
    if isinstance(module, nn.Linear):
        new = FactoredLinear(module.in_features, module.out_features, rank, bias=module.bias is not None)
    elif isinstance(module, nn.Embedding):
        new = FactoredEmbedding(module.num_embeddings, module.embedding_dim, rank, padding_idx=module.padding_idx)
    elif isinstance(module, nn.Conv2d):
        new = SeparableConv2d(module, rank) if is_separable else FactoredConv2d(module, rank)
    else:
        raise TrainingError(f"{type(module).__name__} has no form with factors: name linear maps, embeddings, Conv2d")
    return new.to(weight.device, weight.dtype).train(module.training).requires_grad_(weight.requires_grad)


@torch.no_grad()
def set_factors(module: FactoredLinear | FactoredEmbedding | FactoredConv2d, left: Tensor, right: Tensor) -> None:
    """Give a module its factors, ``[rows, rank]`` and ``[rank, columns]``."""
    if isinstance(module, FactoredConv2d):
        module.first.weight.copy_(right.reshape(module.first.weight.shape))
        module.second.weight.copy_(left.reshape(module.second.weight.shape))
    else:
        module.left.copy_(left)
        module.right.copy_(right)


def share_factors(module: Factored, other: Factored) -> None:
    """Give a linear map or an embedding the factors of another, as parameters that both hold."""
    assert isinstance(module, (FactoredLinear, FactoredEmbedding))
    assert isinstance(other, (FactoredLinear, FactoredEmbedding))
    module.left, module.right = other.left, other.right


def set_bias(module: Factored, bias: nn.Parameter) -> None:
    """Let a module hold the bias of the one that it replaces."""
    owner = module.second if isinstance(module, (FactoredConv2d, SeparableConv2d)) else module
    owner.register_parameter("bias", bias)


def rank_of(module: Factored) -> int:
    """The width between the factors."""
    if isinstance(module, (FactoredConv2d, SeparableConv2d)):
        return module.first.out_channels
    return module.left.shape[1]


def _check_rank(rank: int) -> None:
    if rank < 1:
        raise TrainingError(f"rank is {rank}, expected 1 or more")


def _pair(value: tuple[int, ...]) -> tuple[int, int]:
    first, second = value
    return first, second
