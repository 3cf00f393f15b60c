"""Order of the weight classes in the forward pass."""

from __future__ import annotations

from collections.abc import Iterable

_PARTS = ("source_embedding", "embedding", "target_embedding", "encoder", "decoder", "softmax")


def in_model_order(names: Iterable[str]) -> list[str]:
    """Each name once: embeddings, encoder and decoder by layer, softmax, then all others in the given order."""
    return sorted(dict.fromkeys(names), key=_place)


def _place(name: str) -> tuple[int, int]:
    part, _, layer = name.partition(".")
    known = _PARTS.index(part) if part in _PARTS else len(_PARTS)
    return known, int(layer) if layer.isdigit() else 0
