"""Convolutions as sums of separable ones: the canonical polyadic (CP) decomposition of their weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lightning_compress.errors import MissingLibraryError

_ITERATIONS = 50  # of alternating least squares


class SeparableConv2d(nn.Module):
    """``nn.Conv2d`` as four convolutions: over channels, along the height, along the width, over channels.

    V. Lebedev et al. 2015, "Speeding-up Convolutional Neural Networks Using Fine-tuned CP-Decomposition", section 3.2.

    Args:
        like: the convolution, without groups.
        rank: channels of the inner three.
    """

    def __init__(self, like: nn.Conv2d, rank: int) -> None:
        super().__init__()
        (high, wide), (down, right), (tall, broad) = (
            (each[0], each[1]) for each in (like.kernel_size, like.stride, like.dilation)
        )
        padding = like.padding
        above, beside = (padding, padding) if isinstance(padding, str) else ((padding[0], 0), (0, padding[1]))
        mode = like.padding_mode
        self.first = nn.Conv2d(like.in_channels, rank, 1, bias=False)
        self.vertical = nn.Conv2d(
            rank, rank, (high, 1), (down, 1), above, (tall, 1), groups=rank, bias=False, padding_mode=mode
        )
        self.horizontal = nn.Conv2d(
            rank, rank, (1, wide), (1, right), beside, (1, broad), groups=rank, bias=False, padding_mode=mode
        )
        self.second = nn.Conv2d(rank, like.out_channels, 1, bias=like.bias is not None)

    def forward(self, features: Tensor) -> Tensor:
        """``[batch, in_channels, height, width]`` → ``[batch, out_channels, …]``."""
        found: Tensor = self.second(self.horizontal(self.vertical(self.first(features))))
        return found


def is_separable(module: nn.Module) -> bool:
    """Whether the decomposition of a convolution is another than that of a matrix."""
    return isinstance(module, nn.Conv2d) and min(module.kernel_size) > 1


def rank_of_size(weight: Tensor, elements: int) -> int:
    """The rank, at least 1, for at most so many elements in place of a weight ``[out, in, height, width]``."""
    return max(1, elements // sum(weight.shape))


@torch.no_grad()
def set_separable(module: SeparableConv2d, weight: Tensor, row_weights: Tensor | None) -> None:
    """Give a module the decomposition of a weight ``[out, in, height, width]``, by alternating least squares.

    Args:
        module: with the rank of the decomposition.
        weight: what is decomposed.
        row_weights: ``[out]``, by which errors count; None for 1.

    Raises:
        MissingLibraryError: tensorly is not installed.
    """
    try:
        from tensorly.decomposition import parafac
    except ImportError as error:
        raise MissingLibraryError("convolutions='separable'", "tensorly", "tensors") from error
    scale = torch.ones(len(weight), dtype=torch.float64) if row_weights is None else row_weights
    tensor = (weight.detach().cpu().double() * scale.reshape(-1, 1, 1, 1)).numpy()
    found = parafac(tensor, module.first.out_channels, n_iter_max=_ITERATIONS, init="random", random_state=0)
    sizes = torch.from_numpy(found.weights).abs() ** 0.25 * torch.from_numpy(found.weights).sign()
    parts = [torch.from_numpy(each) for each in found.factors]
    norms = [part.norm(dim=0).clamp_min(1e-30) for part in parts]
    even = (norms[0] * norms[1] * norms[2] * norms[3]) ** 0.25
    out, channels, high, wide = (part / norm * even for part, norm in zip(parts, norms, strict=True))
    magnitudes = sizes.abs()
    module.second.weight.copy_((out * sizes / scale[:, None])[:, :, None, None])
    module.first.weight.copy_((channels * magnitudes).t()[:, :, None, None])
    module.vertical.weight.copy_((high * magnitudes).t()[:, None, :, None])
    module.horizontal.weight.copy_((wide * magnitudes).t()[:, None, None, :])
