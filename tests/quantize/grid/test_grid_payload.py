"""The grid payload: values by exact arithmetic, every kind of stream, and streams and parameters that lie."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from each_case import naming
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid.contexts import Classes
from lightning_compress.quantize.grid.matrix import MAX_POINT, matrix_shape, row_scales, unzigzag, zigzag
from lightning_compress.quantize.grid.offsets import Offsets
from lightning_compress.quantize.grid.payload import GridPayload
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES
from lightning_compress.quantize.grid.trellis.viterbi import trellis_points


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def points_for(rows, columns, states, seed=0, scale=2.0):
    weights = normal(rows, columns, seed=seed) * scale
    return trellis_points(weights, TRELLISES[states]) if states else torch.round(weights).to(torch.int16)


def classes_for(rows, columns, seed=0):
    chance = np.random.default_rng(seed)
    return Classes(*(chance.integers(0, 3, n).astype(np.uint8) for n in (rows, columns)))


def again(payload):
    parameters = json.loads(json.dumps(payload.parameters()))
    count = math.prod(payload.shape)
    specs = GridPayload.layout(parameters, count, payload.dtype)
    streams = payload.streams()
    assert {n: (s.count, s.width) for n, s in specs.items()} == {n: (len(w), w.itemsize) for n, w in streams.items()}
    rebuilt = GridPayload.from_streams(parameters, payload.shape, payload.dtype, streams)
    assert rebuilt.parameters() == parameters
    return rebuilt


SHAPES = [(), (1,), (7,), (1, 7), (1, 1), (0,), (3, 0), (0, 3), (6, 1), (5, 9), (1, 5, 9), (4, 3, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_payload_comes_back(shape):
    dtypes = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    for states, dtype in product([0, 4, 8, 32], dtypes):
        with naming((states, dtype)):
            _check_payload(shape, states, dtype)


def _check_payload(shape, states, dtype):
    rows, columns = matrix_shape(shape)
    if rows * columns == 0 and states:
        states = 0
    points = points_for(rows, columns, states)
    exponents = torch.arange(rows, dtype=torch.int32) * 5 - 9 if rows * columns else None
    payload = GridPayload.of(points, 0.25, shape, dtype, trellis=states, exponents=exponents)
    rebuilt = again(payload)
    assert torch.equal(rebuilt.points, points)
    assert rebuilt.restore().shape == shape
    assert torch.equal(rebuilt.restore(), payload.restore())


def test_values_are_step_times_power_times_point():
    points = torch.tensor([[3, -1, 0], [1, 2, -2]], dtype=torch.int16)
    payload = GridPayload.of(points, 0.5, (2, 3), torch.float32, exponents=torch.tensor([32, -64], dtype=torch.int32))
    assert payload.restore().tolist() == [[3, -1, 0], [0.125, 0.25, -0.25]]


def test_offsets_are_added_to_columns():
    points = torch.tensor([[3, -1, 0], [1, 2, -2]], dtype=torch.int16)
    offsets = Offsets(np.array([-3, 32767, -32768], np.int16), 0.25)
    exponents = torch.tensor([32, -64], dtype=torch.int32)
    payload = GridPayload.of(points, 0.5, (2, 3), torch.float32, exponents=exponents, offsets=offsets)
    assert payload.restore().tolist() == [[2.25, 8190.75, -8192], [-0.625, 8192, -8192.25]]
    assert payload.streams()["column_offsets"].tolist() == [5, 65534, 65535]
    assert torch.equal(again(payload).restore(), payload.restore())


def test_powers_are_the_same_on_every_machine():
    scales = row_scales(1.0, torch.arange(-40, 72, dtype=torch.int32), 112)
    with localcontext() as context:
        context.prec = 40
        for exponent, scale in zip(range(-40, 72), scales.tolist(), strict=True):
            exact = Decimal(2) ** (Decimal(exponent) / 32)
            assert abs(Decimal(scale) / exact - 1) < Decimal(2) ** -50
    # From the formula of the specification; not all of these are the float64 nearest to the power.
    roots = [2.0]
    for _ in range(5):
        roots.append(math.sqrt(roots[-1]))
    for k in range(32):
        product = 1.0
        for place, bit in enumerate((16, 8, 4, 2, 1), 1):
            product = product * roots[place] if k & bit else product
        assert float(row_scales(1.0, torch.tensor([k - 64], dtype=torch.int32), 1)) == product / 4


def test_rounding_to_the_dtype_is_that_of_float64_products():
    points, step = points_for(30, 20, 0, scale=300), 0.1234567891234
    for dtype in (torch.float32, torch.float64):
        restored = GridPayload.of(points, step, (30, 20), dtype).restore()
        numbers = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
        exact = [numbers(float(Fraction(step) * int(point))) for point in points.reshape(-1)]
        assert np.array_equal(restored.reshape(-1).numpy(), np.array(exact, numbers))


def test_classes_change_the_bytes_and_not_the_tensor():
    points = points_for(30, 40, 8)
    chosen = GridPayload.of(points, 0.1, (30, 40), torch.float32, trellis=8)
    none = GridPayload.of(points, 0.1, (30, 40), torch.float32, trellis=8, classes=Classes())
    many = GridPayload.of(points, 0.1, (30, 40), torch.float32, trellis=8, classes=classes_for(30, 40))
    assert [len(p.groups) for p in (none, many)] == [2, 10]
    assert len({*map(len, (p.streams() for p in (none, many)))}) == 2
    for payload in (chosen, none, many):
        assert torch.equal(again(payload).restore(), chosen.restore())


def test_words_are_as_narrow_as_they_can_be():
    for largest, width in ((127, 1), (-128, 1), (128, 2), (-129, 2), (MAX_POINT, 2), (-MAX_POINT, 2)):
        payload = GridPayload.of(torch.tensor([[largest, 0]], dtype=torch.int16), 1.0, (1, 1, 2), torch.float64)
        assert payload.parameters()["width"] == width
        assert again(payload).restore().reshape(-1).tolist() == [largest, 0]


def test_zigzag():
    indices = np.array([0, -1, 1, -2, 2, -3], np.int16)
    assert zigzag(indices).tolist() == [0, 1, 2, 3, 4, 5]
    wide = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(np.sort(zigzag(wide)), np.arange(65536))
    assert np.array_equal(unzigzag(zigzag(wide)), wide)


@given(
    st.integers(2, 9),
    st.integers(1, 9),
    st.sampled_from([0, *TRELLISES]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1 << 30),
)
@settings(max_examples=60)
def test_every_payload_comes_back(rows, columns, states, with_classes, with_exponents, with_offsets, seed):
    chance = np.random.default_rng(seed)
    points = points_for(rows, columns, states, seed, scale=10 ** chance.uniform(-1, 4))
    exponents = torch.from_numpy(chance.integers(-200, 56, rows).astype(np.int32)) if with_exponents else None
    classes = classes_for(rows, columns, seed) if with_classes else None
    offsets = Offsets(chance.integers(-32768, 32768, columns).astype(np.int16), 1e-4) if with_offsets else None
    shape, options = (rows, columns), {"trellis": states, "exponents": exponents, "offsets": offsets}
    payload = GridPayload.of(points, 1e-3, shape, torch.float32, **options, classes=classes)
    assert torch.equal(again(payload).restore(), payload.restore())


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([[32767, 0]], {}, "a point lies at 32767 steps, expected at most 32766"),
        ([[0] * 129] * 2, {"trellis": 8}, "rows of 129 weights, 2 of them, are too long for a trellis"),
        ([[1, 0]], {"trellis": 8}, "beside every path of the trellis of 8 states"),
        ([[2, 2]], {"trellis": 4}, "beside every path of the trellis of 4 states"),
        ([[70, 0]], {"dtype": torch.float16, "step": 1000.0}, "reach beyond torch.float16"),
        ([[1, 0]], {"offsets": Offsets(np.array([1, 2], np.int16), 1e38), "step": 3e38}, "reach beyond torch.float32"),
        ([[-1, 0]], {"offsets": Offsets(np.array([-1, 2], np.int16), 1e38), "step": 3e38}, "reach beyond"),
        ([[0, 0]], {"step": 1e300, "exponents": torch.tensor([1000], dtype=torch.int32)}, "reach beyond"),
    ],
)
def test_points_that_cannot_be_stored(points, options, message):
    options = {"step": 1.0, "dtype": torch.float32} | options
    with pytest.raises(ValueError, match=message):
        GridPayload.of(
            torch.tensor(points), options.pop("step"), (2, 1), options.pop("dtype"), **options, classes=Classes()
        )


GOOD = {"step": 0.5, "trellis": 8, "width": 1, "groups": [4, 6], "rows": 5, "classes": ["rows"], "exponent": -3}
GOOD |= {"offset": 0.25}
WRONG = {
    "no step": ({"step": None}, "expected a positive float"),
    "a whole step": ({"step": 1}, "expected a positive float"),
    "a step of 0": ({"step": 0.0}, "expected a positive float"),
    "a negative step": ({"step": -0.5}, "expected a positive float"),
    "an infinite step": ({"step": math.inf}, "expected a positive float"),
    "no number for a step": ({"step": math.nan}, "expected a positive float"),
    "an unknown trellis": ({"trellis": 2}, "expected one of 0, 4, 8"),
    "no trellis": ({"trellis": None}, "expected one of 0, 4, 8"),
    "a trellis of true": ({"trellis": True}, "expected one of 0, 4, 8"),
    "wide words": ({"width": 4}, "expected 1 or 2"),
    "a width of true": ({"width": True}, "expected 1 or 2"),
    "groups that are none": ({"groups": 10}, "whole numbers"),
    "one group": ({"groups": [10]}, "whole numbers"),
    "too many groups": ({"groups": [10, *[0] * 256]}, "whole numbers"),
    "a negative group": ({"groups": [-1, 11]}, "whole numbers"),
    "a broken group": ({"groups": [4.0, 6.0]}, "whole numbers"),
    "groups of fewer": ({"groups": [4, 5]}, "hold 9 elements, expected 10"),
    "groups of more": ({"groups": [1 << 60, 6]}, "expected 10"),
    "no rows": ({"rows": None}, "expected a divisor"),
    "0 rows": ({"rows": 0}, "expected a divisor"),
    "rows that do not divide": ({"rows": 3}, "expected a divisor"),
    "rows beyond the elements": ({"rows": 20}, "expected a divisor"),
    "an unknown side": ({"classes": ["rows", "layers"]}, "expected some of rows, columns"),
    "sides in disorder": ({"classes": ["columns", "rows"]}, "expected some of rows, columns"),
    "sides that are no list": ({"classes": "rows"}, "expected some of rows, columns"),
    "a broken exponent": ({"exponent": 0.5}, "whole number within"),
    "a large exponent": ({"exponent": 31746}, "whole number within"),
    "a small exponent": ({"exponent": -32001}, "whole number within"),
    "offsets of no unit": ({"offset": None}, "unit of the offsets of a grid is None, expected a positive float"),
    "offsets of a whole unit": ({"offset": 1}, "expected a positive float"),
    "offsets of a unit of 0": ({"offset": 0.0}, "expected a positive float"),
    "offsets of an infinite unit": ({"offset": math.inf}, "expected a positive float"),
    "offsets of no number": ({"offset": math.nan}, "expected a positive float"),
    "offsets without rows": ({"rows": None, "classes": [], "exponent": 0}, "expected a divisor"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_wrong_parameters_are_refused_before_anything_is_allocated(change, message):
    GridPayload.layout(GOOD, 10, torch.float32)
    with pytest.raises(FormatError, match=message):
        GridPayload.layout(GOOD | change, 10, torch.float32)


def test_tensors_that_are_not_floats_are_refused():
    for dtype in (torch.int32, torch.float8_e4m3fn, torch.complex64):
        with pytest.raises(FormatError, match="expected a floating-point tensor"):
            GridPayload.layout(GOOD, 10, dtype)


class TestLies:
    def sound(self, **options):
        payload = GridPayload.of(
            points_for(12, 10, 8, seed=5), 0.5, (12, 10), torch.float32, trellis=8,
            classes=classes_for(12, 10), exponents=torch.arange(12, dtype=torch.int32), **options,
        )  # fmt: skip
        return payload.parameters(), payload.streams()

    def refused(self, parameters, streams, message, dtype=torch.float32, shape=(12, 10)):
        GridPayload.layout(parameters, math.prod(shape), dtype)
        with pytest.raises(FormatError, match=message):
            GridPayload.from_streams(parameters, shape, dtype, streams)

    def test_other_rows(self):
        parameters, streams = self.sound()
        self.refused(parameters, streams, "has 12 rows, expected 10", shape=(10, 12))
        self.refused(parameters, streams, "has 12 rows, expected 120", shape=(120,))

    def test_classes_beyond_the_groups(self):
        parameters, streams = self.sound()
        for side, word in (("row_classes", 3), ("row_classes", 255), ("column_classes", 200)):
            lie = streams[side].copy()
            lie[3] = word
            self.refused(parameters, streams | {side: lie}, "groups, expected .* by its classes")

    def test_classes_of_other_rows(self):
        parameters, streams = self.sound()
        lie = streams["row_classes"].copy()
        lie[lie.argmin()] += 1
        self.refused(parameters, streams | {"row_classes": lie}, r"context \d+ is said to have")

    def test_indices_of_another_path(self):
        parameters, streams = self.sound()
        lie = streams["indices"].copy()
        lie[0] += 1
        self.refused(parameters, streams | {"indices": lie}, r"context \d+ is said to have")

    def test_groups_of_other_sizes(self):
        parameters, streams = self.sound()
        groups = parameters["groups"]
        moved = [groups[0] + 1, groups[1] - 1, *groups[2:]]
        self.refused(parameters | {"groups": moved}, streams, r"context \d+ is said to have")
        plain = parameters | {"trellis": 0, "groups": [sum(groups[i : i + 2]) for i in range(0, 10, 2)]}
        GridPayload.from_streams(plain, (12, 10), torch.float32, streams)
        swapped = plain | {"groups": plain["groups"][::-1]}
        self.refused(swapped, streams, "context 0 is said to have")

    def test_words_beyond_the_grid(self):
        for trellis, word in ((8, 32766), (8, 65535), (0, 65533), (0, 65535)):
            parameters = {"step": 1.0, "trellis": trellis, "width": 2} | ({"groups": [1, 1]} if trellis else {})
            streams = {"indices": np.array([word, 0], "<u2")}
            self.refused(parameters, streams, f"the word {word} stands in a grid", shape=(2,))

    def test_a_trellis_over_long_rows(self):
        parameters = {"step": 1.0, "trellis": 4, "width": 1, "groups": [258, 0]}
        GridPayload.from_streams(parameters, (3, 86), torch.float32, {"indices": np.zeros(258, np.uint8)})
        self.refused(parameters, {"indices": np.zeros(258, np.uint8)}, "has 2 rows of 129, expected", shape=(2, 129))

    def test_exponents_that_do_not_begin_at_0(self):
        parameters, streams = self.sound()
        self.refused(parameters, streams | {"row_exponents": streams["row_exponents"] + np.uint8(1)}, "coded as 1")

    def test_offsets_beyond_the_dtype(self):
        parameters = {"step": 1.0, "trellis": 0, "width": 1, "rows": 2, "offset": 1e35}
        streams = {"indices": np.zeros(4, np.uint8), "column_offsets": np.array([2 * 3402, 5], "<u2")}
        GridPayload.layout(parameters, 4, torch.float32)
        restored = GridPayload.from_streams(parameters, (2, 2), torch.float32, streams).restore()
        assert torch.equal(restored, torch.tensor([[3402e35, -3e35]] * 2))
        for word in (2 * 3403, 65535):
            lie = streams | {"column_offsets": np.array([word, 5], "<u2")}
            self.refused(parameters, lie, "reaches beyond torch.float32", shape=(2, 2))
        self.refused(parameters | {"offset": 1e308}, streams, "reaches beyond", torch.float64, (2, 2))

    def test_values_beyond_the_dtype(self):
        parameters, streams = self.sound()
        beyond = parameters | {"step": 1e38}
        self.refused(beyond, streams, "reaches beyond torch.float32")
        self.refused(parameters | {"step": 60000.0}, streams, "reaches beyond torch.float16", torch.float16)
        self.refused({"step": 1e308, "trellis": 0, "width": 1, "rows": 2, "exponent": 31000},
                     {"indices": np.zeros(2, np.uint8), "row_exponents": np.zeros(2, np.uint8)},
                     "reaches beyond", torch.float64, (2,))  # fmt: skip
