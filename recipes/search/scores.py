"""Scores as both searches use them."""

from __future__ import annotations

from torch import Tensor

from recipes.data.vocabulary import BOS, PAD, UNK


def log_probabilities(scores: Tensor, *, allow_unknown: bool = True) -> Tensor:
    """Logits ``[…, words]`` → log-probabilities in fp32; ``PAD``, ``BOS`` (on request ``UNK``) get -inf."""
    logs = scores.float().log_softmax(dim=-1)
    logs[..., [PAD, BOS]] = float("-inf")
    if not allow_unknown:
        logs[..., UNK] = float("-inf")
    return logs


def length_limits(source: Tensor, *, ratio: float = 2.0, extra: int = 10) -> Tensor:
    """Most words to search for, ``[batch]``: ``ratio`` × source words + ``extra``, whatever the padding."""
    words = (source != PAD).sum(dim=1)
    return (words * ratio).long() + extra
