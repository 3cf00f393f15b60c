"""Scores: accepted and refused values, and BLEU that agrees with sacrebleu."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

from lightning_compress import Score, bleu_score
from lightning_compress.errors import SearchError
from lightning_compress.search import paired_drop
from lightning_compress.search.evaluate.half_samples import HalfSamples

HYPOTHESES = ["the cat sat on the mat", "a dog barks .", "nothing at all is right here", "yes"]
REFERENCES = ["the cat sat on a mat", "the dog barks .", "everything is wrong", "yes indeed"]
OTHERS = ["a cat was on the mat", "a dog is barking .", "all of it is wrong here", "yes"]


@pytest.mark.parametrize(
    "value",
    [1, 2.5, np.float32(2.5), torch.tensor(3.0), torch.tensor([[4]]), torch.tensor(1.5, requires_grad=True), True],
)
def test_numbers_are_taken(value):
    assert Score.from_value(value).value == float(torch.as_tensor(value).detach())


def test_a_score_is_taken_as_it_is():
    score = Score(1.0)
    assert Score.from_value(score) is score


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "NoneType: None"),
        ("0.5", "str: '0.5'"),
        ({"bleu": 1.0}, "dict"),
        (torch.ones(3), r"Tensor of shape \[3\]"),
        (1 + 2j, "complex"),
        (torch.tensor(1j), "Tensor of shape"),
    ],
)
def test_anything_else_is_refused(value, message):
    with pytest.raises(SearchError, match=rf"evaluate returned {message}.*expected a number \(higher is better\)"):
        Score.from_value(value)


def test_statistics_make_the_value():
    score = Score.of([[1.0, 2.0], [3.0, 2.0]], lambda sums: sums[0] / sums[1])
    assert score.value == 1.0
    assert Score.mean_of([1.0, 0.0, 0.5, 0.5]).value == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, np.ones((2, 1))), "give the other one too"),
        ((1.0, None, sum), "give the other one too"),
        ((1.0, np.ones(3), float), r"shape \[3\]"),
        ((1.0, np.ones((0, 2)), float), r"shape \[0, 2\]"),
        ((1.0, np.array([[np.nan]]), float), "finite"),
        ((1.0, np.ones((2, 1)), lambda sums: float(sums[0])), "sums give 2.0: they must agree"),
    ],
)
def test_statistics_that_fit_nothing_are_refused(arguments, message):
    with pytest.raises(SearchError, match=message):
        Score(*arguments)


def test_flat_statistics_are_refused_by_the_other_ways_too():
    with pytest.raises(SearchError, match=r"shape \[2\]"):
        Score.of([1.0, 2.0], float)
    with pytest.raises(SearchError, match="shape"):
        Score.mean_of([[1.0], [2.0]])


@pytest.mark.parametrize(
    "options", [{"tokenize": "none"}, {}, {"lowercase": True}, {"max_ngram_order": 2}, {"smooth_method": "floor"}]
)
@pytest.mark.parametrize("references", [REFERENCES, [REFERENCES, OTHERS]], ids=["one", "two"])
def test_bleu_is_sacrebleus(options, references):
    streams = [references] if isinstance(references[0], str) else references
    expected = BLEU(**{"force": True, **options}).corpus_score(HYPOTHESES, streams).score
    score = bleu_score(HYPOTHESES, references, **options)
    assert score.value == pytest.approx(expected, rel=1e-12)
    assert score.statistics.shape[0] == len(HYPOTHESES)


def test_bleu_of_some_of_the_sentences():
    score = bleu_score(HYPOTHESES, REFERENCES, tokenize="none")
    some = bleu_score(HYPOTHESES[:2], REFERENCES[:2], tokenize="none")
    assert score.combine(score.statistics[:2].sum(0)) == pytest.approx(some.value, rel=1e-12)


@pytest.mark.parametrize("references", [REFERENCES[:3], [REFERENCES, OTHERS[:1]]])
def test_sentences_without_a_reference_are_refused(references):
    with pytest.raises(SearchError, match="4 hypotheses and references"):
        bleu_score(HYPOTHESES, references)


def test_no_sentences_are_refused():
    with pytest.raises(SearchError, match="0 hypotheses"):
        bleu_score([], [])


def test_without_sacrebleu_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    with pytest.raises(SearchError, match="pip install sacrebleu"):
        bleu_score(HYPOTHESES, REFERENCES)


def recall_of_rare(sums):
    return float(sums[0] / sums[1])


def share_of_rare(sums):
    return sums[0].item() / sums[1].item()


@pytest.mark.parametrize("combine", [recall_of_rare, share_of_rare])
def test_a_score_that_is_undefined_without_a_rare_class_is_refused_with_what_to_do(combine):
    rows = np.zeros((100, 2))
    rows[7] = 1
    with np.errstate(invalid="ignore"):
        score = Score.of(rows, combine)
        assert score.value == 1
        with pytest.raises(SearchError, match="undefined on a random part of the items"):
            paired_drop(score, score)
        with pytest.raises(SearchError, match="0 for a class that does not occur"):
            HalfSamples(score)


def test_scores_of_parts_are_those_of_their_sums():
    rows = np.arange(12.0).reshape(6, 2) + 1
    score = Score.of(rows, lambda sums: float(sums[0] / sums[1]))
    assert score.of_parts(rows) == pytest.approx(rows[:, 0] / rows[:, 1])
    broken = Score.of(rows, lambda _: float("-inf"))
    assert np.isneginf(broken.of_parts(rows)).all()
