"""Batched beam search with the length penalty of Wu et al. 2016 (section 7)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from recipes.checks import check_sizes
from recipes.data.vocabulary import BOS, EOS, PAD
from recipes.models.network import Network
from recipes.search.scores import check_scores, length_limits, log_probabilities


def penalty(length: int, alpha: float) -> float:
    """What the log-probability of a translation of ``length`` words (``EOS`` counted) is divided by."""
    return float(((5.0 + length) / 6.0) ** alpha)


@dataclass
class Finished:
    """Complete translations of one source sentence, each with its score."""

    scores: list[float] = field(default_factory=list)
    words: list[list[int]] = field(default_factory=list)

    def add(self, score: float, words: list[int]) -> None:
        """Keep one more translation."""
        self.scores.append(score)
        self.words.append(words)

    def best(self) -> list[int]:
        """The words of the highest score, the first found on a tie."""
        return self.words[max(range(len(self.scores)), key=self.scores.__getitem__)]


@torch.no_grad()
def beam_search(
    network: Network,
    source: Tensor,
    *,
    beam: int = 4,
    alpha: float = 0.6,
    limits: Tensor | None = None,
    allow_unknown: bool = True,
) -> Tensor:
    """Translate a batch, keeping the ``beam`` best unfinished translations of each sentence.

    A sentence is done when ``beam`` translations of it ended, or at its limit, where the unfinished ones
    count as they stand. Beam 1 is greedy search.

    Args:
        network: in evaluation mode.
        source: ``[batch, source_length]`` word ids, padded with ``PAD``.
        beam: translations kept for each sentence, 1 or more.
        alpha: strength of the length penalty; 0: none, and short translations win.
        limits: ``[batch]``, most words of each translation, ``EOS`` counted; default: :func:`length_limits`.
        allow_unknown: whether ``UNK`` may be chosen.

    Returns:
        ``[batch, length]`` word ids, each row up to and with its ``EOS``, then ``PAD``.

    Raises:
        SettingsError: if ``beam`` is below 1.
        ScoreError: if scores are NaN or infinite, so that no word can be chosen.
    """
    check_sizes(beam=beam)
    limits = length_limits(source) if limits is None else limits
    batch, device = source.size(0), source.device
    finished = [Finished() for _ in range(batch)]
    sentences = torch.arange(batch, device=device)  # which sentence each group of rows works on
    # Shapes from here on: g groups (sentences not done) of k = beam neighbouring rows of the state.
    state = network.encode(source).select(sentences.repeat_interleave(beam))
    words = source.new_full((batch, beam, 1), BOS)
    totals = torch.full((batch, beam), float("-inf"), device=device)
    totals[:, 0] = 0.0  # all rows of a group begin alike: only one may branch
    for length in range(1, int(limits.max()) + 1):
        # 1. score every continuation of every kept translation: [g, k, words]
        groups = len(sentences)
        scores, state = network.step(words.view(groups * beam, -1)[:, -1:], state)
        logs = log_probabilities(scores[:, -1], allow_unknown=allow_unknown).view(groups, beam, -1)
        # 2. the best 2 k of a group: even if k of them end, k go on
        candidates = (totals[:, :, None] + logs).flatten(1)
        tops, places = candidates.topk(min(2 * beam, candidates.size(1)), dim=1)
        check_scores(tops[:, 0], sentences, length)  # NaN counts as the highest
        parents, nexts = places // logs.size(2), places % logs.size(2)
        # 3. those among the first k that end, or that reach the limit, are finished
        possible = tops > float("-inf")
        at_limit = limits[sentences] <= length
        ends = possible & ((nexts == EOS) | at_limit[:, None])
        ends[:, beam:] = False
        for group, rank in ends.nonzero().tolist():
            kept = words[group, int(parents[group, rank])].tolist()[1:]
            score = float(tops[group, rank]) / penalty(length, alpha)
            finished[int(sentences[group])].add(score, [*kept, int(nexts[group, rank])])
        # 4. the first k of the others go on
        going = tops.masked_fill(nexts == EOS, float("-inf"))
        totals, order = pad_columns(going, beam).topk(beam, dim=1)
        order = order.clamp(max=places.size(1) - 1)
        parents, nexts = parents.gather(1, order), nexts.gather(1, order)
        kept_words = words.gather(1, parents[:, :, None].expand(-1, -1, length))
        words = torch.cat([kept_words, nexts[:, :, None]], dim=2)
        # 5. sentences that are done leave the batch
        enough = [len(finished[k].scores) >= beam for k in sentences.tolist()]
        done = at_limit | torch.tensor(enough, device=device) | (totals == float("-inf")).all(dim=1)
        left = (~done).nonzero()[:, 0]
        if not len(left):
            break
        sentences, words, totals = sentences[left], words[left], totals[left]
        state = state.select((left[:, None] * beam + parents[left]).flatten())
    return collect(finished, source)


def pad_columns(scores: Tensor, columns: int) -> Tensor:
    """Fill ``[g, n]`` up to ``columns`` columns with -inf: a vocabulary may be smaller than a beam."""
    missing = columns - scores.size(1)
    return torch.nn.functional.pad(scores, (0, missing), value=float("-inf")) if missing > 0 else scores


def collect(finished: list[Finished], source: Tensor) -> Tensor:
    """The best translation of every sentence, padded: ``[batch, longest]``."""
    best = [each.best() for each in finished]
    out = source.new_full((len(best), max(map(len, best))), PAD)
    for k, words in enumerate(best):
        out[k, : len(words)] = torch.tensor(words, dtype=out.dtype)
    return out
