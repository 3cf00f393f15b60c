"""Tensors that two plans treat alike are coded once, and files are the same as if they were coded anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_compress import Grid, Half, Interval, KMeans, Plan, Prune, Raw, Rule, Weights, compress
from lightning_compress.compression import payloads
from lightning_compress.compression.coded_tensors import CodedTensors
from lightning_compress.errors import PlanError
from lightning_compress.quantize import GridGuide


class Net(nn.Module):
    """Three matrices of unlike spread, their biases, and a count."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(24, 40)
        self.decoder = nn.Linear(40, 24)
        self.embedding = nn.Embedding(50, 24)
        self.register_buffer("steps", torch.tensor(7))


WEIGHTS = Weights.from_module(Net())
BIASES = Rule("*.bias", Half())


@pytest.fixture
def coded_names(monkeypatch):
    """The tensors that are coded, as they are."""
    names: list[str] = []
    original = payloads.smallest_coding

    def smallest_coding(weight, payload, *check):
        names.append(weight.name)
        return original(weight, payload, *check)

    monkeypatch.setattr(payloads, "smallest_coding", smallest_coding)
    return names


def contents(archive):
    return archive.manifest, archive.streams


@pytest.mark.parametrize(
    "plans",
    [
        [Plan(BIASES, Rule("*", Grid(step, relative=True))) for step in (0.5, 1.0, 0.5)],
        # What is set apart leaves the others, whose common spread is another then.
        [
            Plan(BIASES, Rule("*", Grid(0.5, relative=True))),
            Plan(BIASES, Rule("encoder*", Grid(1.0, relative=True)), Rule("*", Grid(0.5, relative=True))),
            Plan(BIASES, Rule("encoder*", Grid(1.0, relative=True)), Rule("*", Grid(0.7, relative=True))),
        ],
        [
            Plan(Rule("*.weight", Prune(share, "class-blind"), KMeans(8, scope="model")), Rule("*", Raw()))
            for share in (0.3, 0.6, 0.3)
        ],
        [Plan(Rule("decoder*", Interval(4))), Plan(Rule("*", Interval(4))), Plan(Rule("decoder*", Interval(4)))],
    ],
)
def test_files_are_those_of_tensors_coded_anew(plans):
    known = CodedTensors()
    for plan in plans:
        assert contents(compress(WEIGHTS, plan, known=known)) == contents(compress(WEIGHTS, plan))


def test_only_what_is_treated_otherwise_is_coded(coded_names):
    known = CodedTensors()
    matrices = ("encoder.weight", "decoder.weight", "embedding.weight")

    def plan(*steps):
        return Plan(BIASES, *(Rule(name, Grid(step)) for name, step in zip(matrices, steps, strict=True)))

    compress(WEIGHTS, plan(0.1, 0.1, 0.1), known=known)
    assert sorted(coded_names) == sorted(weight.name for weight in WEIGHTS)
    for steps, expected in (
        ((0.1, 0.2, 0.1), ["decoder.weight"]),
        ((0.2, 0.1, 0.1), ["encoder.weight"]),
        ((0.2, 0.2, 0.1), []),
    ):
        coded_names.clear()
        compress(WEIGHTS, plan(*steps), known=known)
        assert coded_names == expected


def test_a_few_codings_of_each_tensor_are_kept_and_the_last_used_stay(coded_names):
    known = CodedTensors()
    plans = [Plan(Rule("*", Grid(0.1 + 0.01 * number, relative=True))) for number in range(6)]
    for plan in (*plans[:4], plans[0], plans[4]):
        compress(WEIGHTS, plan, known=known)
    coded_names.clear()
    for plan in (plans[0], plans[2], plans[3], plans[4]):
        compress(WEIGHTS, plan, known=known)
    assert coded_names == []
    compress(WEIGHTS, plans[1], known=known)
    assert "encoder.weight" in coded_names


def test_guides_are_used_where_a_tensor_is_coded(coded_names):
    rows = torch.arange(-12, 12, dtype=torch.int32)
    guidance = {"decoder.weight": GridGuide(rows)}
    known, plan = CodedTensors(), Plan(Rule("*", Grid(0.2)))
    first = compress(WEIGHTS, plan, guidance=guidance, known=known)
    assert contents(first) == contents(compress(WEIGHTS, plan, guidance=guidance))
    assert contents(first) == contents(compress(WEIGHTS, plan, guidance=guidance, known=known))
    assert contents(first) != contents(compress(WEIGHTS, plan))


def test_a_plan_that_does_not_fit_is_refused_and_leaves_what_is_known():
    known, plan = CodedTensors(), Plan(Rule("*", Grid(0.2)))
    before = compress(WEIGHTS, plan, known=known)
    with pytest.raises(PlanError, match="nothing_like_this"):
        compress(WEIGHTS, Plan(Rule("nothing_like_this", Grid(0.2))), known=known)
    assert contents(compress(WEIGHTS, plan, known=known)) == contents(before)
