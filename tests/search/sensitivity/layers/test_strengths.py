"""Strengths: the forms in which they are given, their labels, and that JSON gives them back."""

from __future__ import annotations

import json

import pytest

from lightning_compress import Grid, Half, Interval, Plan, Prune, Raw, Rule
from lightning_compress.errors import CompressionError, PlanError, SearchError
from lightning_compress.search import Strength
from lightning_compress.search.sensitivity.layers import STRENGTHS, strengths_of

GIVEN = [
    (0.2, "prune 20 %", 0.2),
    (0.125, "prune 12.5 %", 0.125),
    (Prune(0.4, "class-uniform"), "prune 40 %", 0.4),
    ((Prune(0.4), Raw()), "prune 40 %", 0.4),
    (Prune(0.5, "threshold"), "prune 0.5", None),
    (Interval(4), "4 bits", None),
    (Interval(1), "1 bit", None),
    ([Prune(0.4), Interval(4), Half()], "prune 40 % + 4 bits + half precision", None),
    (Grid(0.25), "grid 0.25", None),
    (Raw(), "raw", None),
    (Strength("mine", (Interval(3),)), "mine", None),
]


@pytest.mark.parametrize(("given", "label", "ratio"), GIVEN, ids=[label for _, label, _ in GIVEN])
def test_a_given_strength_round_trips_through_json(given, label, ratio):
    strength = Strength.of(given)
    assert (strength.label, strength.ratio) == (label, ratio)
    assert Strength.from_config(json.loads(json.dumps(strength.to_config()))) == strength
    assert strength.plan == Plan(Rule("*", *strength.methods))


def test_the_default_has_six_with_names_of_their_own():
    assert [s.label for s in strengths_of(STRENGTHS)] == [
        "prune 20 %", "prune 40 %", "prune 60 %", "prune 80 %", "4 bits", "2 bits",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wishes", "kind", "told"),
    [
        ([], SearchError, "strengths is empty"),
        (0.2, SearchError, "strengths is 0.2, expected a list"),
        ("half", SearchError, "strengths is 'half', expected a list"),
        ([4], SearchError, r"a strength is 4, expected the share that is pruned, such as 0.2, or a method"),
        (["4 bits"], SearchError, "a strength is '4 bits'"),
        ([1.5], PlanError, "takes a fraction from 0 to 1, got 1.5"),
        ([0.2, Prune(0.2)], SearchError, "two strengths are called 'prune 20 %'"),
        ([[Interval(4), Prune(0.2)]], PlanError, "at most one of each kind, in the order prune"),
        ([()], PlanError, "has no method"),
    ],
)
def test_what_is_no_strength_is_refused(wishes, kind, told):
    with pytest.raises(kind, match=told):
        strengths_of(wishes)


@pytest.mark.parametrize("config", [None, {}, {"label": 3, "methods": []}, {"label": "x", "methods": ["squeeze"]}])
def test_a_config_of_something_else_is_refused(config):
    with pytest.raises(CompressionError):
        Strength.from_config(config)
