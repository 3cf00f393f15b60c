"""Binary, ternary, logarithmic and group-wise weights against their papers' formulas, one group at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightning_compress import Binary, GroupWise, Half, Logarithmic, Plan, Prune, Rule, Ternary, compress
from lightning_compress.errors import PlanError

WEIGHTS = torch.randn(12, 5, 14, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 13)[:, None, None]
BIAS = torch.randn(50, generator=torch.Generator().manual_seed(1))


def restored(tensor, *methods):
    return compress({"w": tensor}, Plan(Rule("*", *methods))).restore()["w"]


def by_group(tensor, scope, formula, size=None):
    """The formula for each group of a tensor: all of it, its rows, or ``size`` weights of a row."""
    rows = tensor.double().reshape(len(tensor) if tensor.dim() > 1 and scope != "tensor" else 1, -1).numpy()
    result = [
        np.concatenate([formula(row[i : i + (size or len(row))]) for i in range(0, len(row), size or len(row))])
        for row in rows
    ]
    return torch.from_numpy(np.concatenate(result)).reshape(tensor.shape)


def binary(w):
    return np.where(w >= 0, 1, -1) * np.abs(w).mean()


def ternary(w):
    large = np.abs(w) > 0.7 * np.abs(w).mean()
    return np.sign(w) * large * np.abs(w[large]).mean()


def fitted(w, values, scale):
    """Nearest values and the scale of least squared error in turns, four times, then the nearest once more."""
    for _ in range(5):
        coded = values[np.abs(w[:, None] / scale - values[None, :]).argmin(1)]
        last, scale = scale, (w * coded).sum() / np.square(coded).sum()
    return coded * last


def logarithmic(bits):
    powers = 2.0 ** -np.arange(2 ** (bits - 1))
    return lambda w: fitted(w, np.r_[powers, -powers], np.abs(w).max())


def group_wise(bits):
    most = 2 ** (bits - 1) - 1
    return lambda w: fitted(w, np.arange(-most, most + 1), np.abs(w).max() / most)


FORMULAS = {
    "binary": (Binary, {}, binary),
    "ternary": (Ternary, {}, ternary),
    "logarithmic, 4 bits": (Logarithmic, {"bits": 4}, logarithmic(4)),
    "logarithmic, 2 bits": (Logarithmic, {"bits": 2}, logarithmic(2)),
}


@pytest.mark.parametrize("tensor", [WEIGHTS, BIAS, WEIGHTS.double()], ids=["three dimensions", "bias", "float64"])
@pytest.mark.parametrize("scope", ["tensor", "row"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_papers_formulas(name, scope, tensor):
    method, options, formula = FORMULAS[name]
    found = restored(tensor, method(scope=scope, **options))
    expected = by_group(tensor, scope, formula)
    # Scales of rows are stored as multiples of 1/65535 of the largest.
    assert float((found.double() - expected).abs().max()) < 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("size", [1, 14, 32, 70, 999])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_group_wise(bits, size):
    found = restored(WEIGHTS, GroupWise(bits, size, 16))
    expected = by_group(WEIGHTS, "row", group_wise(bits), size)
    close = (found.double() - expected).abs() < 1e-3 * WEIGHTS.reshape(12, -1).abs().amax(1)[:, None, None]
    assert float(close.double().mean()) > 0.995  # a scale that is rounded may move a weight on a border


def test_scales_of_8_bits_cost_little_error():
    narrow, wide = (restored(WEIGHTS, GroupWise(4, 32, bits)) for bits in (8, 16))
    errors = [float((found - WEIGHTS).square().mean()) for found in (narrow, wide)]
    assert errors[1] <= errors[0] < 1.05 * errors[1]


@pytest.mark.parametrize(
    ("method", "distortion"), [(Binary(), 0.3634), (Ternary(), 0.1915), (GroupWise(2, 4096), 0.19)]
)
def test_normal_weights_meet_known_distortions(method, distortion):
    weights = torch.randn(64, 4096, generator=torch.Generator().manual_seed(2))
    error = float((restored(weights, method) - weights).square().mean())
    assert error == pytest.approx(distortion, rel=0.02)


ZERO_HOLDERS = [Ternary(), Logarithmic(3), GroupWise(4, 16), GroupWise(2, 100, 16), Ternary("tensor")]


@pytest.mark.parametrize("method", ZERO_HOLDERS, ids=repr)
def test_pruned_weights_are_exact_zeros_and_others_are_fitted_alone(method):
    kept = restored(WEIGHTS, Prune(0.4)) != 0
    found = restored(WEIGHTS, Prune(0.4), method, Half())
    assert not found[~kept].any()
    if isinstance(method, Logarithmic):
        assert torch.equal(found != 0, kept)
        assert torch.equal(found[kept], restored(WEIGHTS[kept], method))


@pytest.mark.parametrize("method", [Binary, Ternary, lambda **o: Logarithmic(4, **o), lambda **o: GroupWise(4, 8, **o)])
def test_outliers_stand_apart(method):
    weights = torch.cat([BIAS[:40], torch.arange(100.0, 110.0)])
    found = restored(weights, method(outliers=0.2))
    assert torch.equal(found[40:], weights[40:])
    assert float((found[:40] - BIAS[:40]).square().mean()) < float(BIAS.square().mean())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("method", [Binary("tensor"), Ternary(), Logarithmic(4), GroupWise(4, 3), GroupWise(8, 2, 16)])
def test_the_largest_weights_never_become_infinite(method, dtype):
    most = torch.finfo(dtype).max
    weights = torch.tensor([[most, -most, most / 2, 1.0], [most, most, most, 0.0]], dtype=torch.float64).to(dtype)
    found = restored(weights, method)
    assert found.dtype == dtype
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("method", [Binary(), Ternary(), Logarithmic(4), GroupWise(4, 3)])
@pytest.mark.parametrize("tensor", [torch.zeros(3, 4), torch.tensor(0.3), torch.full((5,), -2.5), torch.empty(0, 3)])
def test_small_and_constant_tensors(method, tensor):
    found = restored(tensor, method)
    assert found.shape == tensor.shape
    torch.testing.assert_close(found, tensor, rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Binary("class"), "Binary: scope 'class' is unknown; write one of tensor, row"),
        (lambda: Binary(outliers=-0.1), r"Binary: outliers is -0\.1, expected a fraction"),
        (lambda: Ternary("model"), "Ternary: scope 'model' is unknown"),
        (lambda: Ternary(outliers="none"), "Ternary: outliers is 'none'"),
        (lambda: Logarithmic(1), "Logarithmic: bits is 1, expected a whole number from 2 to 6"),
        (lambda: Logarithmic(7), "bits is 7"),
        (lambda: Logarithmic(4, "class"), "Logarithmic: scope 'class' is unknown"),
        (lambda: Logarithmic(4, outliers=5), "Logarithmic: outliers is 5"),
        (lambda: GroupWise(1), "GroupWise: bits is 1, expected a whole number from 2 to 8"),
        (lambda: GroupWise(9), "bits is 9"),
        (lambda: GroupWise(True), "bits is True"),
        (lambda: GroupWise(4, 0), "size is 0, expected a whole number from 1 to 1048576"),
        (lambda: GroupWise(4, 64.0), r"size is 64\.0"),
        (lambda: GroupWise(4, 64, 4), "scale_bits is 4, expected 8 or 16"),
        (lambda: GroupWise(4, outliers=True), "GroupWise: outliers is True"),
    ],
)
def test_wrong_values(build, message):
    with pytest.raises(PlanError, match=message):
        build()
