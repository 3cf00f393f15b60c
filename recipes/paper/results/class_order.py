"""Classes of weights in the order in which a sentence meets them."""

from __future__ import annotations

from collections.abc import Iterable

_PARTS = ("source_embedding", "embedding", "target_embedding", "encoder", "decoder", "softmax")


def in_model_order(names: Iterable[str]) -> list[str]:
    """Each name once: embeddings, encoder and decoder by layer, softmax, and then all others as they come."""
    return sorted(dict.fromkeys(names), key=_place)


def _place(name: str) -> tuple[int, int]:
    part, _, layer = name.partition(".")
    known = _PARTS.index(part) if part in _PARTS else len(_PARTS)
    return known, int(layer) if layer.isdigit() else 0
