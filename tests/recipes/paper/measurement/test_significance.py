"""BLEU is kept: a small drop that luck may explain."""

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from lightning_compress import bleu_score
from lightning_compress.search import Drop
from recipes.paper.measurement.significance import ScoreComparison, compare

WORDS = list("abcdefghijklmnop")


def sentences(count, *, wrong, seed):
    """References, and translations in which so many of ten words are replaced, by chance."""
    rng = np.random.default_rng(seed)
    references = [list(rng.choice(WORDS, 10)) for _ in range(count)]
    other = [[rng.choice(WORDS) if rng.random() < wrong / 10 else word for word in line] for line in references]
    return [" ".join(line) for line in references], [" ".join(line) for line in other]


@pytest.mark.parametrize(
    ("drop", "tolerance", "significant", "keeps"),
    [
        (Drop(0.2, -0.1, 0.5, 0.1), 0.3, False, True),
        (Drop(0.3, -0.1, 0.7, 0.1), 0.3, False, True),
        (Drop(0.31, -0.1, 0.7, 0.1), 0.3, False, False),
        (Drop(0.2, 0.05, 0.35, 0.1), 0.3, True, False),
        (Drop(-0.5, -0.9, -0.1, 0.1), 0.3, True, True),
        (Drop(0.0, 0.0, 0.0, 0.0), 0.0, False, True),
    ],
)
def test_the_rule(drop, tolerance, significant, keeps):
    verdict = ScoreComparison(drop, tolerance)
    assert (verdict.significant, verdict.keeps) == (significant, keeps)


def worsened(line, share, seed):
    """A line of which this share of the words is drawn anew."""
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice(WORDS) if rng.random() < share else word for word in line.split())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1])
def test_significance_is_that_of_sacrebleus_test(share):
    references, before = sentences(200, wrong=1, seed=1)
    after = [worsened(line, share, k) for k, line in enumerate(before)]
    exact, score = (bleu_score(lines, references, tokenize="none") for lines in (before, after))
    verdict = compare(exact, score, tolerance=100.0)
    metric = BLEU(tokenize="none", references=[references])
    _, scores = PairedTest([("exact", before), ("other", after)], {"BLEU": metric}, None, test_type="bs")()
    _, other = scores["BLEU"]
    assert verdict.drop.value == pytest.approx(exact.value - other.score)
    assert verdict.significant == (other.p_value < 0.05 and before != after) == (share > 0)
    assert verdict.drop.low <= verdict.drop.value <= verdict.drop.high


def test_equal_scores_give_no_drop_and_equal_seeds_equal_intervals():
    references, before = sentences(50, wrong=2, seed=1)
    exact = bleu_score(before, references, tokenize="none")
    same = compare(exact, exact, tolerance=0.0)
    assert same.drop == Drop(0.0, 0.0, 0.0, 0.0)
    assert same.keeps
    worse = bleu_score([worsened(line, 0.1, k) for k, line in enumerate(before)], references, tokenize="none")
    first, again, other = (compare(exact, worse, tolerance=1.0, seed=seed).drop for seed in (3, 3, 4))
    assert first == again
    assert (first.low, first.high) != (other.low, other.high)
