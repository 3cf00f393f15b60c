"""Scores as both searches use them."""

from __future__ import annotations

from torch import Tensor

from recipes.data.vocabulary import BOS, PAD, UNK
from recipes.errors import ScoreError


def log_probabilities(scores: Tensor, *, allow_unknown: bool = True) -> Tensor:
    """Logits ``[…, words]`` → log-probabilities in fp32; ``PAD``, ``BOS`` (on request ``UNK``) get -inf."""
    logs = scores.float().log_softmax(dim=-1)
    logs[..., [PAD, BOS]] = float("-inf")
    if not allow_unknown:
        logs[..., UNK] = float("-inf")
    return logs


def check_scores(best: Tensor, sentences: Tensor, word: int) -> None:
    """Check that each sentence has a best word. One logit of NaN or +inf makes all log-probabilities of its row NaN.

    Args:
        best: ``[sentences]``, the score of the best next word.
        sentences: ``[sentences]``, their rows in the batch.
        word: number of the target word that is chosen next, from 1.

    Raises:
        ScoreError: if a best score is NaN or -inf; the first such sentence is named.
    """
    wrong = ~best.isfinite()
    if wrong.any():
        sentence = int(sentences[wrong].min())
        raise ScoreError.at(f"sentence {sentence + 1} of the batch", sentence=sentence, word=word)


def length_limits(source: Tensor, *, ratio: float = 2.0, extra: int = 10) -> Tensor:
    """Most words to search for, ``[batch]``: ``ratio`` × source words + ``extra``, whatever the padding."""
    words = (source != PAD).sum(dim=1)
    return (words * ratio).long() + extra
