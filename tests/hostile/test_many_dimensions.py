"""Shapes and strides of a file that no tensor has: very many dimensions, products and offsets that overflow."""

from __future__ import annotations

import pytest
from each_case import naming
from test_opening_costs import RAW, _entries, _file

from lightning_compress.archive import reader
from lightning_compress.errors import FormatError

HUGE = 1 << 48
SHAPES = {
    "10 000 dimensions": [1] * 10_000,
    "65 dimensions": [1] * 65,
    "empty, of 65 dimensions": [0] * 65,
    "a product of 2^3072": [HUGE] * 64,
    "a product that is 0 in the end": [*[HUGE] * 63, 0],
    "a size beyond 2^48": [HUGE + 1],
    "a size beyond 64 bits": [1 << 64],
    "a negative size": [-1],
    "a fraction": [1.0],
    "true": [True],
    "text": ["1"],
}


def _refusal(data: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        reader.parse(memoryview(data), "file")
    return str(caught.value)


def test_shapes_that_no_tensor_has_are_refused_in_a_short_sentence() -> None:
    for name, shape in SHAPES.items():
        with naming(name):
            assert len(_refusal(_file(_entries(1, shape, RAW)))) < 2000


def test_ties_of_such_shapes_and_strides_are_refused() -> None:
    for name, shape in SHAPES.items():
        ties = {
            "shape": {"of": "0", "offset": 0, "shape": shape, "stride": [0] * len(shape)},
            "stride": {"of": "0", "offset": 0, "shape": [1] * len(shape), "stride": shape},
            "both": {"of": "0", "offset": HUGE, "shape": [HUGE], "stride": [HUGE]},
        }
        for side, tie in ties.items():
            with naming((name, side)):
                assert len(_refusal(_file(_entries(1, [0], RAW), ties={"t": tie}))) < 2000
