"""What a search may measure next: along the strength, and around known files part by part."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_compress.search.evaluate.bootstrap import paired_drop
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.optimize.search_space import REACH, Space
from lightning_compress.search.optimize.session import Trial

ALLOWED = 0.3


class Parted:
    """A family of nothing but sizes: each part takes its share of ``e^(10 - strength)`` bytes."""

    weakest, strongest = -3.0, 3.0

    def __init__(self, shares, offsets=()):
        self.shares, self.offsets = shares, dict(offsets)

    def predict_bytes(self, strength):
        if not self.shares:
            return math.exp(10 - strength)
        return sum(share * math.exp(10 - strength - self.offsets.get(part, 0.0)) for part, share in self.shares.items())

    def with_offsets(self, offsets):
        return Parted(self.shares, offsets)


SHARES = {"body": 0.5, "head": 0.3, "tail": 0.2}


def trial(family, strength, drop, error=1.0):
    before, after = Score(10.0), Score(10.0 - drop)
    return Trial(family, strength, round(error * family.predict_bytes(strength)), after, paired_drop(before, after))


def space(*known, shares=SHARES):
    family = Parted(shares)
    return Space(family, [trial(family.with_offsets(offsets), *rest) for offsets, *rest in known], ALLOWED)


def levels(option):
    return {part: round(option.level(part), 3) for part in SHARES}


def test_a_place_tells_the_size_that_the_whole_would_have():
    known = space(({}, 0.0, 0.1), ({"head": 0.5}, 1.0, 0.4)).measured
    assert known.places.tolist() == [pytest.approx([10.0] * 3), pytest.approx([9.0, 8.5, 9.0])]
    assert known.drops.tolist() == pytest.approx([0.1, 0.4])
    assert known.shares.tolist() == [0.5, 0.3, 0.2]


@pytest.mark.parametrize("shares", [SHARES, {}])
def test_options_are_smaller_than_what_they_must_beat_and_none_was_measured(shares):
    held = space(({}, 0.0, 0.1), ({}, 1.0, 0.6), shares=shares)
    options = held.options(10.0)
    measured = held.measured.places.tolist()
    assert len(options) > 50
    assert all(option.size < 10.0 for option in options)
    assert all(list(option.place) not in measured for option in options)
    assert len({option.place for option in options}) == len(options)
    assert min(option.size for option in options) == pytest.approx(9.0 - REACH, abs=0.01)


def test_nothing_is_stronger_than_the_strongest():
    near_the_end = space(({"tail": 2.5}, 0.3, 0.1), ({}, 2.9, 0.2))
    options = near_the_end.options(9.0)
    assert options
    for option in options:
        assert max(levels(option).values()) <= Parted.strongest + 1e-3


def test_one_part_or_two_are_made_smaller_than_in_a_file_that_holds():
    held = space(({}, 0.0, 0.1))
    changed = [{part: level for part, level in levels(option).items() if level} for option in held.options(10.0)]
    for step in (0.1, 0.2, 0.4):
        assert {"tail": step} in changed
        assert {"body": step, "tail": step} in changed


def test_a_part_may_be_as_it_is_in_another_file():
    options = space(({}, 0.0, 0.1), ({"head": 0.33}, 0.77, 0.9)).options(10.0)
    found = [levels(option) for option in options]
    for part, level in {"body": 0.77, "head": 1.1, "tail": 0.77}.items():
        assert {**dict.fromkeys(SHARES, 0.0), part: level} in found


def test_sizes_follow_what_was_measured_of_the_file_that_is_changed():
    """Predictions that are 7 % too low for one file and 20 % for another."""
    known = space(({}, 0.0, 0.1, 1.07), ({}, 2.0, 5.0, 1.2))
    near = next(o for o in known.options(math.inf) if levels(o) == {"body": 0.0, "head": 0.0, "tail": 0.1})
    assert near.size == pytest.approx(10 + math.log(1.07 * (0.8 + 0.2 * math.exp(-0.1))), abs=1e-3)
    assert known.largest == pytest.approx(13 + math.log(1.2), abs=1e-3)


def test_a_family_without_parts_has_a_line_alone():
    alone = space(({}, 0.0, 0.1), shares={})
    assert alone.measured.shares.tolist() == [1.0]
    assert torch.equal(alone.measured.places, torch.full((1, 1), 10.0, dtype=torch.float64))
    assert all(option.offsets == {} for option in alone.options(10.0))
