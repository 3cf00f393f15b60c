"""Fewest bytes with noisy scores: a model of parts, where each unchanged part keeps its deviation."""

from __future__ import annotations

import math
import random
import statistics

import pytest

from lightning_compress.search.effort import EFFORTS
from lightning_compress.search.evaluate.score import Score
from lightning_compress.search.feasibility.promise import FewestBytes
from lightning_compress.search.optimize.bayesian_optimization import minimize_bytes
from lightning_compress.search.trials.trials import Trials

MAX_DROP, DEVIATION = 0.3, 0.17
PARTS = {"body": 0.4, "head": 0.25, "tail": 0.2, "rest": 0.15}


class Scores:
    """An evaluator with scores as of a translation model.

    A strength of 0 has 32 bits; the drop grows with the fourth power of the ratio, and each part adds a deviation.
    """

    def __init__(self, seed: int, deviation: float) -> None:
        self.noise, self.deviation, self.seen = random.Random(seed), deviation, {}
        self.count = 0
        self.weights = [type("Weight", (), {"tensor": type("Tensor", (), {"numel": lambda _: 10_000_000})()})()]

    def score(self, tensors, what):
        self.count += 1
        drop = 0.0
        for part, strength in tensors.items():
            deviation = self.seen.setdefault((part, round(strength, 6)), self.noise.gauss(0, self.deviation))
            drop += PARTS[part] * MAX_DROP * (2.0**strength / 14) ** 4 + math.sqrt(PARTS[part]) * deviation
        return Score(100.0 - drop)


class Files:
    """The family of such files; ``shares`` says whether their parts may have offsets."""

    weakest, strongest = 0.0, 6.0

    def __init__(self, shares, offsets=()):
        self.shares, self.offsets = shares, dict(offsets)

    def strengths_of(self, strength):
        return {part: strength + self.offsets.get(part, 0.0) for part in PARTS}

    def archive(self, strength):
        strengths = self.strengths_of(strength)
        return type("Archive", (), {"nbytes": round(self._bytes(strengths)), "restore": lambda _: strengths})()

    def predict_bytes(self, strength):
        return 0.95 * self._bytes(self.strengths_of(strength))

    def _bytes(self, strengths):
        return sum(share * 40_000_000 * 2.0 ** -strengths[part] for part, share in PARTS.items())

    def with_offsets(self, offsets):
        return Files(self.shares, offsets)

    def shares_trials_with(self, other):
        return isinstance(other, Files)


def searched(seed, shares, deviation=DEVIATION, evaluations=20):
    """The trials of a search, and the compression ratio that it ends with."""
    scores = Scores(seed, deviation)
    trials = Trials(scores, Score(100.0), objective := FewestBytes(MAX_DROP), evaluations, lambda *_: None)
    minimize_bytes(trials, Files(shares), EFFORTS["default"], objective.posterior)
    assert trials.incumbent is not None
    assert scores.count <= evaluations
    return trials, 40_000_000 / trials.incumbent[0].nbytes


def test_offsets_of_parts_make_files_smaller_where_scores_are_noisy():
    whole = [searched(seed, {})[1] for seed in range(6)]
    parts = [searched(seed, PARTS)[1] for seed in range(6)]
    assert statistics.geometric_mean(parts) > 1.05 * statistics.geometric_mean(whole)
    assert min(parts) > 13


@pytest.mark.parametrize("shares", [{}, PARTS])
def test_without_noise_the_file_of_equal_strengths_is_found(shares):
    """The optimum is 14 times as small, with the same strength everywhere."""
    trials, ratio = searched(0, shares, deviation=0.0)
    assert 13.6 <= ratio <= 14.001
    strengths = trials.incumbent[0].family.strengths_of(trials.incumbent[0].strength).values()
    assert max(strengths) - min(strengths) < 0.6


def test_reserved_evaluations_are_left_over():
    scores = Scores(0, DEVIATION)
    trials = Trials(scores, Score(100.0), objective := FewestBytes(MAX_DROP), 20, lambda *_: None)
    minimize_bytes(trials, Files(PARTS), EFFORTS["default"], objective.posterior, reserved=12)
    assert scores.count == 8


def test_a_family_without_smaller_files_costs_no_evaluation():
    trials, _ = searched(0, {})
    before = trials.evaluator.count
    weak = Files({})
    weak.strongest = 1.0
    weak.shares_trials_with = lambda other: other is weak
    minimize_bytes(trials, weak, EFFORTS["default"], trials.objective.posterior)
    assert trials.evaluator.count == before
