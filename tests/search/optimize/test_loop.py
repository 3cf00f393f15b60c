"""The search for fewer bytes where scores scatter: a model of parts, whose luck stays with what is not changed."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from lightning_compress.search.effort import EFFORTS
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.optimize.loop import descend
from lightning_compress.search.optimize.session import FewestBytes, Session

ALLOWED, SCATTER = 0.3, 0.17
PARTS = {"body": 0.4, "head": 0.25, "tail": 0.2, "rest": 0.15}


class World:
    """Scores as of a translation model, in place of one.

    A strength of 0 has 32 bits; the drop grows with the fourth power of the ratio, and each part adds its own luck.
    """

    def __init__(self, seed: int, scatter: float) -> None:
        self.luck, self.scatter, self.seen = random.Random(seed), scatter, {}
        self.count = 0
        self.weights = [type("Weight", (), {"tensor": type("Tensor", (), {"numel": lambda _: 10_000_000})()})()]

    def score(self, tensors, what):
        self.count += 1
        drop = 0.0
        for part, strength in tensors.items():
            luck = self.seen.setdefault((part, round(strength, 6)), self.luck.gauss(0, self.scatter))
            drop += PARTS[part] * ALLOWED * (2.0**strength / 14) ** 4 + math.sqrt(PARTS[part]) * luck
        return Score(100.0 - drop)


class Files:
    """The family of such files, in parts that are told or not."""

    weakest, strongest = 0.0, 6.0

    def __init__(self, shares, offsets=()):
        self.shares, self.offsets = shares, dict(offsets)

    def levels(self, strength):
        return {part: strength + self.offsets.get(part, 0.0) for part in PARTS}

    def archive(self, strength):
        levels = self.levels(strength)
        return type("Archive", (), {"nbytes": round(self._bytes(levels)), "restore": lambda _: levels})()

    def predict_bytes(self, strength):
        return 0.95 * self._bytes(self.levels(strength))

    def _bytes(self, levels):
        return sum(share * 40_000_000 * 2.0 ** -levels[part] for part, share in PARTS.items())

    def with_offsets(self, offsets):
        return Files(self.shares, offsets)

    def is_like(self, other):
        return isinstance(other, Files)


def searched(seed, shares, scatter=SCATTER, evaluations=20):
    """The session of a search, and the ratio that it ends with."""
    world = World(seed, scatter)
    session = Session(world, Score(100.0), FewestBytes(ALLOWED), evaluations, lambda *_: None)
    descend(session, Files(shares), EFFORTS["default"], ALLOWED, worth=0.1)
    assert session.best is not None
    assert world.count <= evaluations
    return session, 40_000_000 / session.best[0].nbytes


def test_parts_make_files_smaller_where_scores_scatter():
    whole = [searched(seed, {})[1] for seed in range(6)]
    parts = [searched(seed, PARTS)[1] for seed in range(6)]
    assert statistics.geometric_mean(parts) > 1.05 * statistics.geometric_mean(whole)
    assert min(parts) > 13


@pytest.mark.parametrize("shares", [{}, PARTS])
def test_without_scatter_the_file_of_equal_parts_is_found(shares):
    """That is the best there is: 14 times as small, everything equally strong."""
    session, ratio = searched(0, shares, scatter=0.0)
    assert 13.7 <= ratio <= 14.001
    levels = session.best[0].family.levels(session.best[0].strength).values()
    assert max(levels) - min(levels) < 0.6


def test_evaluations_that_others_wait_for_are_left():
    world = World(0, SCATTER)
    session = Session(world, Score(100.0), FewestBytes(ALLOWED), 20, lambda *_: None)
    descend(session, Files(PARTS), EFFORTS["default"], ALLOWED, spare=12)
    assert world.count == 8


def test_a_family_that_cannot_be_smaller_costs_no_evaluation():
    session, _ = searched(0, {})
    before = session.evaluator.count
    weak = Files({})
    weak.strongest = 1.0
    weak.is_like = lambda other: other is weak
    descend(session, weak, EFFORTS["default"], ALLOWED)
    assert session.evaluator.count == before
