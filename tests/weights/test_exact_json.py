"""Values of hyper-parameters survive as they are: type, order and bits, or they are not held at all."""

from __future__ import annotations

import enum
import math
from argparse import Namespace
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_lightning.utilities import AttributeDict

from lightning_compress.weights import NotHeldError, dump, is_held, parse
from lightning_compress.weights.metadata.exact_json import MAX_DEPTH


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


Point = namedtuple("Point", "x y")


def same(one: Any, other: Any) -> bool:
    """Whether two values agree in type, order and bits, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(map(same, one.items(), other.items()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (float, np.floating)):
        return np.float64(one).tobytes() == np.float64(other).tobytes() or bool(np.isnan(one) and np.isnan(other))
    return bool(one == other)


_CHARACTERS = st.characters(exclude_categories=["Cs"])  # the default are these, found in two seconds
_KEYS = st.one_of(st.text(_CHARACTERS), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 100), 1 << 100),
    st.floats(),
    st.text(_CHARACTERS),
    st.sampled_from([torch.float32, torch.int64, torch.Size([2, 3]), np.float32(0.1), np.int8(-3), np.bool_(True)]),
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(_KEYS, inner, max_size=4),
        st.dictionaries(_KEYS, inner, max_size=4).map(OrderedDict),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(_VALUES)
def test_what_is_held_comes_back_as_it_was(value: Any) -> None:
    assert same(parse(dump(value)), value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='{}[]":,$tuplefoadsizn0123456789.-'))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        value = parse(text)
    except NotHeldError:
        return
    assert dump(value) == text


def test_look_alikes_and_what_text_cannot_hold_are_not_held() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    values: list[Any] = [
        Colour.RED,
        Level.LOW,
        Point(1, 2),
        Namespace(a=1),
        AttributeDict(a=1),
        {(1, 2): 3},
        {Level.LOW: 1},
        Path("/data"),
        {1, 2},
        b"bytes",
        1j,
        torch.ones(1),
        torch.nn.GELU,
        len,
        10**400,
        "\ud800",
        np.ones(2),
        np.datetime64("2020-01-01"),
        np.str_("text"),
        object(),
        cyclic,
        deep,
    ]
    for value in values:
        for form in (value, [value], {"a": (value,)}):
            assert not is_held(form), value


def test_texts_that_no_writer_makes_are_refused() -> None:
    texts = ['{"$tuple":5}', '{"$float":"1"}', '{"$dict":[[1]]}', '{"$dict":["ab"]}', '{"a":1,"a":2}', "[1, 2]", "NaN"]
    texts += ['{"$numpy":["int8",300]}', '{"$numpy":["float32",0.1]}', '{"$numpy":["object",1]}', '{"$dtype":"no"}']
    texts += ['{"$dict":[["a",1]]}', '{"$dict":[[[],1]]}', '{"$dict":[[1,2],[1.0,3]]}', '{"$ordered":[[1,2],[1,3]]}']
    texts += [
        '{"$size":["x"]}',
        f'{{"$size":[{10**30}]}}',
        '{"$dtype":[1]}',
        "1e400",
        "9" * 5000,
        "[" * 100_000,
        "",
        "1.50",
    ]
    texts += ['{"a":1,"$tuple":[]}', '{"$tuple":[],"a":1}', '{"$no":1}', '"\\u0061"', '"\\ud800"', '{"$float":1.0}']
    for text in texts:
        with pytest.raises(NotHeldError):
            parse(text)


def test_the_text_is_what_the_specification_says() -> None:
    value = {"b": (1, 2.0), "a": {1: None}, "x": math.inf, "d": torch.float16, "n": np.float32(0.5)}
    assert dump(value) == (
        '{"b":{"$tuple":[1,2.0]},"a":{"$dict":[[1,null]]},"x":{"$float":"inf"},"d":{"$dtype":"float16"},'
        '"n":{"$numpy":["float32",0.5]}}'
    )
