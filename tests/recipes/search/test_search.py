"""Cases: greedy against its definition, beam 1, beam against exhaustive search, padding, limits, unknown words."""

import itertools

import pytest
import torch

from recipes.data.batching import pad
from recipes.data.vocabulary import BOS, EOS, PAD, UNK
from recipes.search.beam import beam_search, penalty
from recipes.search.greedy import greedy_search
from recipes.search.scores import length_limits, log_probabilities

SEEDS = pytest.mark.parametrize("seed", range(4))


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(7)
    rows = torch.full((6, 8), PAD)
    for k, length in enumerate((1, 7, 3, 5, 2, 4)):
        rows[k, :length] = torch.randint(4, 11, (length,), generator=generator)
        rows[k, length] = EOS
    return rows


def translations(rows):
    return [[k for k in row if k != PAD] for row in rows.tolist()]


@torch.no_grad()
def log_probability(network, source, sequences):
    """Log-probability of each sequence of words as a translation of one sentence, from one pass without a cache."""
    previous = pad([[BOS, *words[:-1]] for words in sequences])
    logs = log_probabilities(network(source[None].expand(len(sequences), -1), previous))
    return [sum(logs[row, k, word].item() for k, word in enumerate(words)) for row, words in enumerate(sequences)]


@SEEDS
def test_greedy_takes_the_best_word_each_time(make_transformer, source, seed):
    network = make_transformer(seed=seed)
    limits = length_limits(source)
    for row, limit, found in zip(source, limits.tolist(), translations(greedy_search(network, source)), strict=True):
        words = []
        while len(words) < limit and words[-1:] != [EOS]:
            scores = network(row[None], torch.tensor([[BOS, *words]]))
            words.append(int(log_probabilities(scores[0, -1]).argmax()))
        assert found == words


@SEEDS
def test_beam_of_one_is_greedy(make_transformer, source, seed):
    network = make_transformer(seed=seed)
    greedy = translations(greedy_search(network, source))
    assert translations(beam_search(network, source, beam=1)) == greedy


@SEEDS
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_a_wide_beam_finds_what_exhaustive_search_finds(make_transformer, source, seed, alpha):
    network = make_transformer(target_words=7, seed=seed)
    limit, words = 4, (UNK, 4, 5, 6)
    unfinished = list(itertools.product(words, repeat=limit))
    finished = [(*row, EOS) for n in range(limit) for row in itertools.product(words, repeat=n)]
    every = [*finished, *unfinished]
    limits = torch.full((len(source),), limit)
    found = translations(beam_search(network, source, beam=400, alpha=alpha, limits=limits))
    for row, words_found in zip(source, found, strict=True):
        totals = log_probability(network, row, every)
        scores = [total / penalty(len(words), alpha) for total, words in zip(totals, every, strict=True)]
        assert tuple(words_found) == every[scores.index(max(scores))]


@SEEDS
def test_a_wider_beam_never_scores_worse_than_greedy_without_penalty(make_transformer, source, seed):
    network = make_transformer(seed=seed)
    greedy = translations(greedy_search(network, source))
    wide = translations(beam_search(network, source, beam=30, alpha=0.0))
    for row, one, other in zip(source, greedy, wide, strict=True):
        narrow, better = log_probability(network, row, [one, other])
        assert better >= narrow - 1e-5


@pytest.mark.parametrize("beam", [1, 3])
def test_neither_padding_nor_neighbours_change_a_translation(make_transformer, source, beam):
    network = make_transformer(seed=1)
    together = translations(beam_search(network, source, beam=beam))
    for row, expected in zip(source, together, strict=True):
        alone = row[row != PAD][None]
        padded = torch.nn.functional.pad(alone, (0, 9), value=PAD)
        assert translations(beam_search(network, alone, beam=beam)) == [expected]
        assert translations(beam_search(network, padded, beam=beam)) == [expected]
        if beam == 1:
            assert translations(greedy_search(network, padded)) == [expected]


def test_limits_hold_for_each_sentence(make_transformer, source):
    network = make_transformer(seed=2)
    limits = torch.tensor([1, 2, 3, 4, 5, 6])
    for rows in (greedy_search(network, source, limits=limits), beam_search(network, source, beam=3, limits=limits)):
        assert all(1 <= len(row) <= k for row, k in zip(translations(rows), limits.tolist(), strict=True))
    assert length_limits(source).tolist() == [14, 26, 18, 22, 16, 20]


def test_pad_and_bos_are_never_said_and_unknown_only_on_request(make_transformer, source):
    network = make_transformer()
    with torch.no_grad():
        network.softmax.weight.zero_()
        network.decoder.norm = torch.nn.LayerNorm(16)
        network.decoder.norm.bias.data.fill_(1.0)
        network.softmax.weight[PAD], network.softmax.weight[BOS], network.softmax.weight[UNK] = 3.0, 2.0, 1.0
    limits = torch.full((len(source),), 3)
    for allow, expected in ((True, {UNK}), (False, {EOS, 4, 5, 6, 7, 8})):
        greedy = greedy_search(network, source, limits=limits, allow_unknown=allow)
        beam = beam_search(network, source, beam=2, limits=limits, allow_unknown=allow)
        for row in (*translations(greedy), *translations(beam)):
            assert set(row) <= expected | {EOS}


def test_the_penalty_is_the_papers():
    assert penalty(1, 0.6) == 1.0
    assert penalty(7, 1.0) == 2.0
    assert penalty(100, 0.0) == 1.0


def test_a_beam_below_one_is_refused(make_transformer, source):
    with pytest.raises(ValueError, match="beam is 0"):
        beam_search(make_transformer(), source, beam=0)
