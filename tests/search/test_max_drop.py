"""How much of a score may be lost: numbers, shares, what needs none, and drops that are suspiciously large."""

from __future__ import annotations

import logging
import math
from functools import partial

import pytest
import torch
from each_case import naming
from small_network import Net
from small_search import Rounded
from torch import nn

from lightning_compress import smallest
from lightning_compress.errors import SearchError
from lightning_compress.search.max_drop import MaxDrop, name_of
from lightning_compress.weights import Weights


def test_numbers_and_shares_are_read() -> None:
    cases = {0: (0, False), 0.3: (0.3, False), "1%": (0.01, True), " 2.5 % ": (0.025, True)}
    for given, (amount, is_share) in cases.items():
        with naming(given):
            found = MaxDrop.parse(given)
            assert (found.amount, found.is_share) == (pytest.approx(amount), is_share)
            assert MaxDrop.from_text(str(given)) == found


def test_everything_else_is_refused_with_what_to_write() -> None:
    cases = [
        -1,
        "0.3",
        "-1%",
        "100%",
        "%",
        "",
        "a",
        "nan",
        "inf%",
        math.nan,
        math.inf,
        True,
        None,
        [0.3],
        "1%%",
        torch.ones(1),
    ]
    for given in cases:
        with naming(given), pytest.raises(SearchError, match=r"expected a finite number .* such as '1%'"):
            MaxDrop.parse(given)


def test_a_share_is_one_of_the_score_of_the_exact_weights_whatever_its_sign() -> None:
    assert MaxDrop.parse("1%").in_unit_of(40) == pytest.approx(0.4)
    assert MaxDrop.parse("1%").in_unit_of(-2.0) == pytest.approx(0.02)  # a loss whose negative is the score
    assert MaxDrop(0.3).in_unit_of(40) == 0.3


def test_a_share_takes_no_further_evaluation_and_is_one_of_the_weights_given() -> None:
    module, calls = Net(), []

    def evaluate(given: nn.Module) -> float:
        calls.append(float(given.head.weight.abs().sum()))
        return calls[-1]

    weights = Weights.from_state_dict({name: tensor.clone() for name, tensor in module.state_dict().items()})
    with torch.no_grad():
        module.head.weight.mul_(2)  # as with averaged weights: those of the module are others
    archive = smallest(
        module, evaluate, "1%", weights=weights, families=lambda w: (Rounded(w),), effort="quick", progress=False
    )
    found = archive.manifest.metrics["search"]
    assert len(calls) == found["evaluations"] <= 8
    assert calls[0] == calls[1] == pytest.approx(found["score_before"])
    assert found["drop"] <= 0.01 * calls[0]
    assert archive.report().ratio > 2


def test_only_bleu_needs_none() -> None:
    assert MaxDrop.of_metric("val_BLEU") == MaxDrop(0.01, is_share=True)
    for name in ("val_acc", "val_loss", "score"):
        with naming(name), pytest.raises(SearchError, match=rf"how much of '{name}' .*max_drop='1%'"):
            MaxDrop.of_metric(name)


def test_a_drop_that_is_a_large_part_of_the_score_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    for allowed, score, is_large in (
        (MaxDrop(0.3), 0.99, True),
        (MaxDrop(0.3), 33.0, False),
        (MaxDrop(0.3), -2.0, True),
        (MaxDrop(0.3), 0.0, True),
        (MaxDrop(0.0), 0.0, False),
        (MaxDrop.parse("30%"), 0.99, False),
        (MaxDrop(0.3), math.nan, False),
    ):
        caplog.clear()
        with naming((allowed, score)), caplog.at_level(logging.WARNING):
            allowed.warn_if_large(score)
            assert bool(caplog.records) == is_large
            assert not is_large or "such as '1%'" in caplog.text


def test_a_function_or_an_object_that_evaluates_has_a_name() -> None:
    class CorpusBleu:
        def __call__(self, module: nn.Module) -> float:
            return 1.0

    def accuracy(module: nn.Module, batches: int = 1) -> float:
        return 1.0

    assert name_of(accuracy) == "accuracy"
    assert name_of(partial(partial(accuracy, batches=2))) == "accuracy"
    assert name_of(CorpusBleu()) == "CorpusBleu"
    assert MaxDrop.of(None, name_of(CorpusBleu())) == MaxDrop.parse("1%")
    assert MaxDrop.of(0.5, "accuracy") == MaxDrop(0.5)
