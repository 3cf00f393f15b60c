"""The weights that are measured: synthetic, of the shapes of the paper's Transformer."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH, INNER = 512, 2048


def paper_transformer(words: int = 30_000, layers: int = 6, seed: int = 0) -> dict[str, Tensor]:
    """Names and shapes of a Transformer of 512, filled with seeded normal weights, each tensor with its own scale.

    Args:
        words: of each of the two vocabularies; the paper has 30 thousand.
        layers: of the encoder, and of the decoder; the paper has six of each, which makes 90 million weights.
        seed: of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "source_embedding.weight": (words, WIDTH),
        "target_embedding.weight": (words, WIDTH),
        "softmax.weight": (words, WIDTH),
        "softmax.bias": (words,),
    }
    for stack, attentions in (("encoder", ["self_attention"]), ("decoder", ["self_attention", "cross_attention"])):
        for layer in range(layers):
            shapes |= _layer(f"{stack}.layers.{layer}", attentions)
    scales = torch.rand(len(shapes), generator=generator) * 0.06 + 0.02
    return {
        name: torch.randn(shape, generator=generator) * scale
        for (name, shape), scale in zip(shapes.items(), scales, strict=True)
    }


def _layer(prefix: str, attentions: list[str]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for attention in attentions:
        for part in ("query", "key", "value", "output"):
            shapes[f"{prefix}.{attention}.{part}.weight"] = (WIDTH, WIDTH)
            shapes[f"{prefix}.{attention}.{part}.bias"] = (WIDTH,)
    shapes |= {
        f"{prefix}.feed_forward.0.weight": (INNER, WIDTH),
        f"{prefix}.feed_forward.0.bias": (INNER,),
        f"{prefix}.feed_forward.1.weight": (WIDTH, INNER),
        f"{prefix}.feed_forward.1.bias": (WIDTH,),
    }
    for norm in range(len(attentions) + 1):
        shapes |= {f"{prefix}.norm.{norm}.weight": (WIDTH,), f"{prefix}.norm.{norm}.bias": (WIDTH,)}
    return shapes
