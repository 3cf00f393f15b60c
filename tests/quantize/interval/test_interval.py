"""Interval quantization against a reference written from the paper: indices, outliers and restored values, whole."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_compress import Half, Interval, Plan, Prune, Rule, compress
from lightning_compress.errors import PlanError
from lightning_compress.quantize import IndexedPayload
from lightning_compress.weights import Weights


def normal(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


STATE = {
    "encoder.0.weight": normal(20, 30),
    "encoder.1.weight": normal(25, 30, seed=1, scale=0.3),
    "encoder.1.bias": normal(30, seed=2, scale=0.01),
    "softmax.weight": normal(40, 9, seed=3, scale=4),
}
GROUPS = {
    "model": lambda name: "",
    "class": lambda name: name.rpartition(".")[0],
    "tensor": lambda name: name,
}


def reference_width(values, coverage):
    """Half the width of the narrowest interval around 0 that holds the share of the values."""
    count = math.ceil(Fraction(str(coverage)) * len(values))
    return float(np.sort(np.abs(values))[count - 1]) if count else None


def reference(values, width, bits, restore):
    """(index or None, restored value) of each float64 value, one at a time."""
    pieces = 2**bits
    result = []
    for value in values:
        if width is None or abs(value) > width:
            result.append((None, value))
            continue
        step = 2 * width / pieces
        piece = min(math.floor((value + width) / step), pieces - 1) if step else 0
        position = {"left": 0, "middle": 0.5, "right": 1}[restore]
        result.append((piece, -width + (piece + position) * step))
    return result


def compare(tensors, method):
    """Check one interval over these tensors, element by element."""
    values = np.concatenate([t.double().reshape(-1).numpy() for t in tensors])
    width = reference_width(values, method.coverage)
    fitted = method.fit(tensors)
    assert fitted.half_width == (-1 if width is None else width)
    for tensor in tensors:
        expected = reference(tensor.double().reshape(-1).tolist(), width, method.bits, method.restore)
        indices = fitted.indices(tensor.reshape(-1))
        outlier = fitted.codebook.outlier
        assert indices.tolist() == [outlier if index is None else index for index, _ in expected]
        table = fitted.codebook.values(torch.float64)
        inside = [i for i, (index, _) in enumerate(expected) if index is not None]
        np.testing.assert_allclose(
            table[indices[inside].long()].numpy(),
            [expected[i][1] for i in inside],
            rtol=0,
            atol=1e-14 * max(width or 0, 1),
        )


@pytest.mark.parametrize("restore", ["left", "middle", "right"])
@pytest.mark.parametrize("coverage", [0, 0.5, 0.98, 1])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 15, 16])
def test_one_tensor(bits, coverage, restore):
    compare([normal(333)], Interval(bits, coverage, restore))


@pytest.mark.parametrize("bits", range(1, 17))
def test_every_number_of_bits_in_a_whole_archive(bits):
    archive = compress(STATE, Plan(Rule("*", Interval(bits, 0.98), Half())))
    joined = torch.cat([t.reshape(-1) for t in STATE.values()]).double().numpy()
    width = reference_width(joined, 0.98)
    for name, restored in archive.restore().items():
        expected = reference(STATE[name].double().reshape(-1).tolist(), width, bits, "middle")
        inside = np.array([index is not None for index, _ in expected])
        values = np.array([value for _, value in expected])
        found = restored.reshape(-1).double().numpy()
        np.testing.assert_array_equal(found[inside], values[inside].astype(np.float32))
        halves = STATE[name].reshape(-1).numpy().view(np.uint32) & 0xFFFF0000
        np.testing.assert_array_equal(found[~inside], halves.view(np.float32)[~inside])


@pytest.mark.parametrize("scope", GROUPS)
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_scopes_group_tensors(scope, coverage):
    restored = compress(STATE, Plan(Rule("*", Interval(3, coverage, scope=scope)))).restore()
    groups = {}
    for name in STATE:
        groups.setdefault(GROUPS[scope](name), []).append(name)
    for names in groups.values():
        width = reference_width(np.concatenate([STATE[n].double().reshape(-1).numpy() for n in names]), coverage)
        for name in names:
            expected = [value for _, value in reference(STATE[name].double().reshape(-1).tolist(), width, 3, "middle")]
            assert torch.equal(restored[name].reshape(-1), torch.tensor(expected, dtype=torch.float64).float())


def test_each_rule_has_its_own_interval():
    plan = Plan(Rule("encoder*", Interval(3, 0.9)), Rule("*", Interval(3, 0.9)))
    encoder = {name: tensor for name, tensor in STATE.items() if name.startswith("encoder")}
    alone = compress(encoder, Plan(Rule("*", Interval(3, 0.9)))).restore()
    together = compress(STATE, plan).restore()
    assert all(torch.equal(together[name], alone[name]) for name in encoder)


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    st.integers(1, 16),
    st.sampled_from([0.01, 0.3, 0.5, 0.98, 1.0]),
)
def test_the_middle_is_at_most_half_a_step_away(values, bits, coverage):
    weights = torch.tensor(values)
    fitted = Interval(bits, coverage).fit([weights])
    indices = fitted.indices(weights)
    inside = indices != fitted.codebook.outlier
    assert int(inside.sum()) >= math.ceil(Fraction(str(coverage)) * len(values))
    errors = (fitted.codebook.values(torch.float64)[indices.long()] - weights.double())[inside].abs()
    assert float(errors.max()) <= fitted.step / 2 * (1 + 1e-12)


@pytest.mark.parametrize("coverage", [0.07, 0.29, 0.57, 0.98])
def test_coverage_is_rounded_up_to_whole_weights(coverage):
    weights = torch.arange(1.0, 101)
    fitted = Interval(4, coverage).fit([weights])
    assert fitted.half_width == math.ceil(Fraction(str(coverage)) * 100)


def test_pruned_weights_count_and_come_back_as_exact_zero():
    weights = torch.arange(1.0, 101)
    archive = compress({"w": weights}, Plan(Rule("w", Prune(0.5), Interval(2, 0.9))))
    restored = archive.restore()["w"]
    assert restored[:50].tolist() == [0] * 50
    width, step = 90, 45  # 90 of 100 weights, pruned ones among them, lie within ±90
    assert restored[50:90].tolist() == [-width + (math.floor((w + width) / step) + 0.5) * step if w < 90 else 67.5
                                        for w in range(51, 91)]  # fmt: skip
    assert restored[90:].tolist() == list(range(91, 101))


SPECIAL = {
    "all zero": ([0.0, -0.0, 0.0], [0, 0, 0]),
    "one element": ([3.0], [3 - 3 / 4]),
    "constant": ([2.0, 2.0, -2.0], [1.5, 1.5, -1.5]),
    "empty": ([], []),
    "infinite": ([float("inf"), float("-inf")], [float("inf"), float("-inf")]),
    "infinity beside numbers": ([float("inf"), 1.0, -1.0], [float("inf"), 0.75, -0.75]),
    "subnormal": ([1e-45, 0.0], [1e-45, 0.0]),
}


@pytest.mark.parametrize(("values", "expected"), SPECIAL.values(), ids=SPECIAL)
def test_special_tensors(values, expected):
    weights = torch.tensor(values)
    fitted = Interval(2, 1.0).fit([weights])
    codebook = fitted.codebook
    table = codebook.values(torch.float32)
    restored = [
        float(w) if i == codebook.outlier else float(table[i])
        for w, i in zip(weights, fitted.indices(weights).tolist(), strict=True)
    ]
    assert restored == torch.tensor(expected).tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type_under_every_coverage(dtype):
    weights = torch.cat([normal(500), torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, 3e38])]).to(dtype)
    for coverage in (0, 0.3, 1):
        restored = compress({"w": weights}, Plan(Rule("*", Interval(5, coverage)))).restore()["w"]
        assert restored.dtype == dtype
        kept = ~torch.isfinite(weights)
        raw = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
        assert torch.equal(restored[kept].view(raw), weights[kept].view(raw))
        if not coverage:
            assert torch.equal(restored.view(raw), weights.view(raw))


def test_tensors_of_several_types_meet_one_border():
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        narrow = (1 + torch.rand(300, generator=generator) * 0.05).half()
        compare([1 + torch.rand(301, generator=generator) * 0.05, narrow], Interval(4, 0.5))
        compare(
            [1 + torch.rand(301, generator=generator, dtype=torch.float64) * 1e-7, narrow.float()], Interval(4, 0.5)
        )


def test_magnitudes_at_the_end_of_float64():
    weights = torch.tensor([1.7e308, 0.2e308, -1.6e308, 1.0, -0.3e308] * 4, dtype=torch.float64)
    fitted = Interval(4, 1.0).fit([weights])
    restored = compress({"w": weights}, Plan(Rule("*", Interval(4, 1.0)))).restore()["w"]
    assert ((restored - weights).abs() <= fitted.step / 2).all()


def test_weights_between_the_border_and_its_rounding_stay_outside():
    fitted = Interval(4, 0.5).fit([torch.tensor([0.10001, 1.0])])
    weights = torch.tensor([0.10001, 0.1001, 0.1]).half()
    wide = weights.double()
    assert (fitted.indices(weights) == fitted.codebook.outlier).tolist() == (wide > fitted.half_width).tolist()


def test_an_interval_is_stored_as_indices_with_outliers_apart():
    archive = compress(Weights.from_state_dict(STATE), Plan(Rule("*", Interval(4, 0.9), Half())))
    for entry in archive.manifest.entries:
        assert entry.kind == IndexedPayload.kind
        assert entry.payload["levels"] == 16
        assert entry.payload["outliers"]["kind"] in ("half", "raw")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 0}, "bits is 0, expected a whole number from 1 to 16"),
        ({"bits": 17}, "bits is 17, expected a whole number from 1 to 16"),
        ({"bits": "4"}, "bits is '4', expected a whole number from 1 to 16"),
        ({"bits": True}, "bits is True, expected a whole number"),
        ({"bits": 4.0}, "bits is 4.0, expected a whole number"),
        ({"bits": 4, "coverage": 1.2}, "coverage is 1.2, expected a fraction from 0 to 1; for 98 % write 0.98"),
        ({"bits": 4, "coverage": -1}, "coverage is -1.0, expected a fraction from 0 to 1"),
        ({"bits": 4, "coverage": 98}, "coverage is 98.0, expected .* for 98 % write 0.98"),
        ({"bits": 4, "coverage": float("nan")}, "coverage is nan, expected a fraction"),
        ({"bits": 4, "coverage": "98 %"}, "coverage is '98 %', expected a fraction such as 0.98"),
        ({"bits": 4, "coverage": True}, "coverage is True, expected a fraction"),
        ({"bits": 4, "restore": "centre"}, "restore 'centre' is unknown; write one of left, middle, right"),
        ({"bits": 4, "scope": "layer"}, "scope 'layer' is unknown; write one of model, class, tensor"),
    ],
)
def test_wrong_values(options, message):
    with pytest.raises(PlanError, match=message):
        Interval(**options)
