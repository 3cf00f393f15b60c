"""Patterns of names: what they select, and whether some cover another, against brute force over all short names."""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.plan.patterns import is_covered
from lightning_compress.weights import matches, matches_any

# Three letters, one of them in no pattern: enough to tell any two of these patterns apart.
NAMES = ["".join(letters) for length in range(1, 8) for letters in product("abz", repeat=length)]


@cache
def selected(pattern):
    expression = re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern))
    return frozenset(name for name in NAMES if expression.fullmatch(name))


globs = st.text("ab*?", min_size=1, max_size=4)


@settings(max_examples=150)
@given(globs, st.lists(globs, max_size=3))
def test_coverage_is_what_all_short_names_show(pattern, by):
    left = selected(pattern).difference(*map(selected, by)) if by else selected(pattern)
    assert is_covered(pattern, by) == (not left)


@pytest.mark.parametrize(
    ("pattern", "by", "covered"),
    [
        ("*", ["*"], True),
        ("*", ["?*"], True),
        ("*", ["*?"], True),
        ("*", ["**"], True),
        ("*", ["?", "??*"], True),
        ("*", ["*a*"], False),
        ("*.bias", ["*bias"], True),
        ("*.bias", ["*.weight"], False),
        ("encoder.*.bias", ["*.bias"], True),
        ("*.bias", ["encoder.*.bias"], False),
        ("a?", ["aa", "ab"], False),
        ("*.weight", ["encoder*", "*"], True),
        ("enc*.w", ["*.w", "dec*"], True),
        ("[0].weight", ["[0].*"], True),
        ("[0].weight", ["0.weight"], False),
        ("a", [], False),
    ],
)
def test_coverage_by_hand(pattern, by, covered):
    assert is_covered(pattern, by) is covered


@pytest.mark.parametrize(
    ("pattern", "name", "selects"),
    [
        ("*.bias", "encoder.layers.0.bias", True),
        ("*", "a\nb", True),
        ("enc?der.*", "encoder.w", True),
        ("enc?der.*", "encder.w", False),
        ("*.Bias", "a.bias", False),
        ("layer[0].w", "layer[0].w", True),
        ("layer[0].w", "layer0.w", False),
        ("a.w", "xa.w", False),
        ("encoder.*", "model.encoder.w", False),
        ("encoder.w", "_orig_mod.encoder.w", True),
        ("_orig_mod.encoder.w", "_orig_mod.encoder.w", True),
        ("encoder.w", "module._orig_mod.encoder.w", True),
    ],
)
def test_what_a_pattern_selects(pattern, name, selects):
    assert matches(pattern, name) is selects
    assert matches_any(["nothing", pattern], name) is selects
