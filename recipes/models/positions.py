"""Sinusoidal positions (Vaswani et al. 2017, section 3.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoids(first: int, length: int, width: int, device: torch.device) -> Tensor:
    """Position vectors ``[length, width]`` for the positions ``first … first + length - 1``.

    Even columns hold sines, odd columns cosines, of wavelengths from 2π to 10000 · 2π.

    Raises:
        ValueError: if ``width`` is odd.
    """
    if width % 2:
        raise ValueError(f"width {width} is odd: sinusoidal positions need an even width")
    position = torch.arange(first, first + length, dtype=torch.float32, device=device)
    column = torch.arange(0, width, 2, dtype=torch.float32, device=device)
    angle = position[:, None] * torch.exp(column * (-math.log(10000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
