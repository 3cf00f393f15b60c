"""Candidates: along the strength, and in the neighbourhood of good trials."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_compress.search.evaluate.bootstrap import paired_drop
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.optimize.posterior import Posterior
from lightning_compress.search.optimize.search_space import MAX_STEP, SearchSpace
from lightning_compress.search.trials.trial import Trial

MAX_DROP = 0.3


class Parted:
    """A family with sizes only: each part takes its share of ``e^(10 - strength)`` bytes."""

    weakest, strongest = -3.0, 3.0

    def __init__(self, shares, offsets=()):
        self.shares, self.offsets = shares, dict(offsets)

    def predict_bytes(self, strength):
        if not self.shares:
            return math.exp(10 - strength)
        return sum(share * math.exp(10 - strength - self.offsets.get(part, 0.0)) for part, share in self.shares.items())

    def with_offsets(self, offsets):
        return Parted(self.shares, offsets)

    def shares_trials_with(self, other):
        return isinstance(other, Parted)


SHARES = {"body": 0.5, "head": 0.3, "tail": 0.2}


def trial(family, strength, drop, error=1.0):
    before, after = Score(10.0), Score(10.0 - drop)
    return Trial(family, strength, round(error * family.predict_bytes(strength)), after, paired_drop(before, after))


def space(*known, shares=SHARES):
    family = Parted(shares)
    trials = [trial(family.with_offsets(offsets), *rest) for offsets, *rest in known]
    return SearchSpace(family, trials, Posterior(trials, MAX_DROP, 0.5).surrogate_of(family).data)


def strengths(candidate):
    return {part: round(candidate.strength_of(part), 3) for part in SHARES}


def test_coordinates_are_sizes_of_the_whole_model():
    known = space(({}, 0.0, 0.1), ({"head": 0.5}, 1.0, 0.4)).data
    assert known.coordinates.tolist() == [pytest.approx([10.0] * 3), pytest.approx([9.0, 8.5, 9.0])]
    assert known.drops.tolist() == pytest.approx([0.1, 0.4])
    assert known.shares.tolist() == [0.5, 0.3, 0.2]


@pytest.mark.parametrize("shares", [SHARES, {}])
def test_candidates_are_smaller_than_the_incumbent_and_none_was_evaluated(shares):
    centre = space(({}, 0.0, 0.1), ({}, 1.0, 0.6), shares=shares)
    candidates = centre.candidates(10.0)
    evaluated = centre.data.coordinates.tolist()
    assert len(candidates) > 50
    assert all(candidate.log_bytes < 10.0 for candidate in candidates)
    assert all(list(candidate.coordinates) not in evaluated for candidate in candidates)
    assert len({candidate.coordinates for candidate in candidates}) == len(candidates)
    assert min(candidate.log_bytes for candidate in candidates) == pytest.approx(9.0 - MAX_STEP, abs=0.01)


def test_no_candidate_is_stronger_than_the_strongest():
    near_the_end = space(({"tail": 2.5}, 0.3, 0.1), ({}, 2.9, 0.2))
    candidates = near_the_end.candidates(9.0)
    assert candidates
    for candidate in candidates:
        assert max(strengths(candidate).values()) <= Parted.strongest + 1e-3


def test_one_or_two_parts_of_a_feasible_file_are_made_smaller():
    centre = space(({}, 0.0, 0.1))
    changed = [
        {part: value for part, value in strengths(candidate).items() if value} for candidate in centre.candidates(10.0)
    ]
    for step in (0.1, 0.2, 0.4):
        assert {"tail": step} in changed
        assert {"body": step, "tail": step} in changed


def test_a_part_may_be_exchanged_for_that_of_another_file():
    candidates = space(({}, 0.0, 0.1), ({"head": 0.33}, 0.77, 0.9)).candidates(10.0)
    found = [strengths(candidate) for candidate in candidates]
    for part, strength in {"body": 0.77, "head": 1.1, "tail": 0.77}.items():
        assert {**dict.fromkeys(SHARES, 0.0), part: strength} in found


def test_predicted_sizes_are_corrected_by_the_trial_that_is_changed():
    """Predictions are 7 % too low for one file and 20 % for another."""
    known = space(({}, 0.0, 0.1, 1.07), ({}, 2.0, 5.0, 1.2))
    near = next(o for o in known.candidates(math.inf) if strengths(o) == {"body": 0.0, "head": 0.0, "tail": 0.1})
    assert near.log_bytes == pytest.approx(10 + math.log(1.07 * (0.8 + 0.2 * math.exp(-0.1))), abs=1e-3)
    assert known.max_log_bytes == pytest.approx(13 + math.log(1.2), abs=1e-3)


def test_a_family_without_parts_has_candidates_along_the_strength_only():
    alone = space(({}, 0.0, 0.1), shares={})
    assert alone.data.shares.tolist() == [1.0]
    assert torch.equal(alone.data.coordinates, torch.full((1, 1), 10.0, dtype=torch.float64))
    assert all(candidate.offsets == {} for candidate in alone.candidates(10.0))
