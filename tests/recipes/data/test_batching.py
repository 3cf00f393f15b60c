"""Cases: padding, what a batch holds, the token limit, and the order of epochs."""

import random

import pytest
import torch

from recipes.data.batching import PairDataset, TokenBatches, pad
from recipes.data.vocabulary import BOS, EOS, PAD


@pytest.fixture
def lengths():
    draw = random.Random(3)
    return [(draw.randint(1, 30), draw.randint(1, 30)) for _ in range(500)]


def test_pad_fills_up_to_the_longest():
    assert pad([[5], [6, 7, 8]]).tolist() == [[5, PAD, PAD], [6, 7, 8]]


def test_a_batch_has_specials_where_they_belong():
    pairs = PairDataset([[5, 6], [7]], [[8], [9, 10, 11]], ["x", "y z"])
    batch = pairs[[1, 0]]
    assert batch.source.tolist() == [[7, EOS, PAD], [5, 6, EOS]]
    assert batch.previous.tolist() == [[BOS, 9, 10, 11], [BOS, 8, PAD, PAD]]
    assert batch.target.tolist() == [[9, 10, 11, EOS], [8, EOS, PAD, PAD]]
    assert batch.references == ("y z", "x")
    assert batch.tokens == 6
    assert pairs.lengths() == [(2, 3), (4, 2)]
    assert len(pairs) == 2


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_pair_stands_in_one_batch_within_the_limit(lengths, shuffle):
    batches = list(TokenBatches(lengths, 100, shuffle=shuffle, seed=1))
    assert sorted(k for batch in batches for k in batch) == list(range(500))
    assert all(len(batch) * max(max(lengths[k]) for k in batch) <= 100 for batch in batches)


def test_a_limit_on_pairs_holds_beside_the_limit_on_tokens(lengths):
    batches = TokenBatches(lengths, 100, pairs=8, shuffle=True).batches()
    assert sorted(k for batch in batches for k in batch) == list(range(500))
    assert max(len(batch) for batch in batches) == 8
    assert all(len(batch) * max(max(lengths[k]) for k in batch) <= 100 for batch in batches)
    assert {len(batch) for batch in TokenBatches(lengths, 10_000, pairs=128).batches()} == {128, 500 - 3 * 128}


def test_batches_waste_little(lengths):
    batches = TokenBatches(lengths, 400).batches()
    padded = sum(len(batch) * max(lengths[k][0] for k in batch) for batch in batches)
    assert padded < 1.15 * sum(target for target, _ in lengths)


def test_a_pair_over_the_limit_is_a_batch_of_its_own():
    assert TokenBatches([(3, 3), (50, 2), (2, 3)], 10).batches() == [[2, 0], [1]]


def test_epochs_differ_and_repeat_and_have_equal_numbers_of_batches(lengths):
    batches = TokenBatches(lengths, 100, shuffle=True, seed=1)
    first = list(batches)
    batches.set_epoch(1)
    second = list(batches)
    assert first != second
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    assert len(first) == len(second) == len(batches)
    batches.set_epoch(0)
    assert list(batches) == first
    assert list(TokenBatches(lengths, 100, shuffle=True, seed=2)) != first


def test_without_shuffling_batches_go_from_short_to_long_in_every_epoch(lengths):
    batches = TokenBatches(lengths, 100)
    first = list(batches)
    batches.set_epoch(1)
    assert list(batches) == first
    longest = [max(lengths[k][0] for k in batch) for batch in first]
    assert longest == sorted(longest)


def test_ids_are_long_integers():
    assert PairDataset([[5]], [[6]])[[0]].source.dtype == torch.long
