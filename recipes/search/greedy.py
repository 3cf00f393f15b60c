"""Greedy search: the best next word, step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from recipes.data.vocabulary import BOS, EOS, PAD
from recipes.models.network import Network
from recipes.search.scores import check_scores, length_limits, log_probabilities


@torch.no_grad()
def greedy_search(
    network: Network, source: Tensor, *, limits: Tensor | None = None, allow_unknown: bool = True
) -> Tensor:
    """Translate a batch.

    Args:
        network: in evaluation mode.
        source: ``[batch, source_length]`` word ids, padded with ``PAD``.
        limits: ``[batch]``, most words of each translation, ``EOS`` counted; default: :func:`length_limits`.
        allow_unknown: whether ``UNK`` may be chosen.

    Returns:
        ``[batch, length]`` word ids, each row up to and with its ``EOS``, then ``PAD``.

    Raises:
        ScoreError: if scores are NaN or infinite, so that no word can be chosen.
    """
    limits = length_limits(source) if limits is None else limits
    batch = source.size(0)
    state = network.encode(source)
    out = source.new_full((batch, int(limits.max())), PAD)
    rows = torch.arange(batch, device=source.device)
    words = source.new_full((batch, 1), BOS)
    for position in range(out.size(1)):
        scores, state = network.step(words, state)
        logs = log_probabilities(scores[:, -1], allow_unknown=allow_unknown)
        best = logs.argmax(dim=-1)
        check_scores(logs.gather(1, best[:, None])[:, 0], rows, position + 1)
        out[rows, position] = best
        going = ((best != EOS) & (limits[rows] > position + 1)).nonzero()[:, 0]
        if not len(going):
            return out[:, : position + 1]
        if len(going) < len(rows):
            rows, best, state = rows[going], best[going], state.select(going)
        words = best[:, None]
    return out
