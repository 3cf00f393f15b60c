"""What a file restores is compared with the weights it was made from, within the bounds that the methods state."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from each_case import naming
from torch import Tensor

from lightning_compress import (
    Binary,
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    Logarithmic,
    LowRank,
    Plan,
    Prune,
    Raw,
    Rule,
    Ternary,
    Weights,
    compress,
)
from lightning_compress.compression import payloads
from lightning_compress.compression.exactness import OUT_OF_BOUND, OUT_OF_RANGE
from lightning_compress.compression.fitting import fit
from lightning_compress.compression.source_check import SourceCheck
from lightning_compress.errors import PlanError
from lightning_compress.plan import METHODS, Method
from lightning_compress.quantize import GridGuide, RawPayload, feedback_factor
from lightning_compress.runtime import compiler as compiler_module
from lightning_compress.weights import Weight

GENERATOR = torch.Generator().manual_seed(0)
NORMAL = torch.randn(60, 50, generator=GENERATOR)
RULES: tuple[tuple[Method, ...], ...] = (
    (Half(),),
    (Half(rounding="nearest"),),
    (Half("float16", "nearest"),),
    (Raw(),),
    (Prune(0.3),),
    (Prune(0.3), Half()),
    (Interval(4), Half()),
    (Prune(0.3), Interval(6, 0.9), Raw()),
    (Interval(3, 1.0, "left"),),
    (Grid(0.1),),
    (Grid(0.1, trellis=0),),
    (Grid(0.1, trellis=0, rate_weight=0), Half()),
    (Grid(0.1, rate_weight=0),),
    (
        Prune(0.3),
        Grid(0.1),
    ),
    (KMeans(16),),
    (KMeans(5, outliers=0.1), Half()),
    (Logarithmic(4),),
    (Logarithmic(3, "row", 0.05), Half()),
    (Binary(),),
    (Binary("tensor", 0.1), Half()),
    (Ternary(),),
    (Prune(0.3), Ternary("tensor"), Raw()),
    (GroupWise(4),),
    (GroupWise(8, 16, 16, 0.02), Half()),
)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def _checked(tensor: Tensor, methods: tuple[Method, ...]) -> tuple[SourceCheck, Any, Tensor]:
    """The check of a tensor under a rule, its payload, and what that restores."""
    weights = Weights((Weight("w", tensor, "all"),))
    rules = Plan(Rule("*", *methods)).assign(weights)
    payload, check = payloads._payload(weights.weights[0], rules[0], fit(weights, rules), None)
    assert check is not None
    return check, payload, payload.restore()


def test_weights_within_the_bound_pass_and_others_do_not() -> None:
    """One weight is moved: by three quarters of the range, to infinity, to NaN, or away from 0 if it is pruned."""
    for methods in RULES:
        for dtype in DTYPES:
            tensor = NORMAL.to(dtype)
            check, payload, restored = _checked(tensor, methods)
            with naming((methods, dtype)):
                assert check.holds(payload, restored)
                place = int(restored.abs().argmax())
                for wrong in (-restored.reshape(-1)[place] / 2, float("inf"), float("nan")):
                    moved = restored.clone().reshape(-1)
                    moved[place] = wrong
                    assert not check.holds(payload, moved.reshape(restored.shape))
                if check.pruned is not None:
                    moved = restored.clone().reshape(-1)
                    moved[int(check.pruned.int().argmax())] = 1e-4
                    assert not check.holds(payload, moved.reshape(restored.shape))


def test_every_lossy_method_is_checked() -> None:
    """Apart from factors, whose product has no bound."""
    checked = {method.id for methods in RULES for method in methods}
    assert checked == set(METHODS) - {LowRank.id}


def test_indices_of_other_weights_are_found() -> None:
    """Swapped rows are a likely fault of a payload; statistics of the tensor do not show it."""
    for methods in RULES:
        if methods not in ((Binary(),), (Ternary(),)):
            check, payload, restored = _checked(NORMAL, methods)
            with naming(methods):
                assert not check.holds(payload, restored.flip(0))


def test_rows_of_a_guided_grid_have_bounds_of_their_own() -> None:
    exponents = torch.arange(60, dtype=torch.int32) * 4
    weights = Weights((Weight("w", NORMAL, "all"),))
    rules = Plan(Rule("*", Grid(0.01, trellis=0, rate_weight=0))).assign(weights)
    fitted = fit(weights, rules)
    payload, check = payloads._payload(weights.weights[0], rules[0], fitted, GridGuide(exponents))
    assert check is not None
    restored = payload.restore()
    assert check.holds(payload, restored)
    restored[0, 0] += 0.01  # the last row has steps of 1.6
    assert not check.holds(payload, restored)
    restored[0, 0] -= 0.01
    restored[-1, 0] += 0.01
    _, check = payloads._payload(
        weights.weights[0], rules[0], fitted, GridGuide(exponents, feedback_factor(torch.eye(50), 0.1))
    )
    assert check is not None
    assert check.holds(payload, restored + 100), "fed back errors have no bound"


def _broken(store: Callable[..., Any]) -> Callable[..., Any]:
    """The store of a quantizer that puts one weight where it does not belong."""

    def stored(*args: Any, **keywords: Any) -> Any:
        payload = store(*args, **keywords)
        indices = payload.indices.clone()
        indices[int(indices.argmin())] = int(indices[indices < payload.codebook.zero].max())
        return replace(payload, indices=indices)

    return stored


def test_a_tensor_outside_its_bound_is_kept_exactly_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fitted = type(Interval(4).fit([NORMAL]))
    monkeypatch.setattr(fitted, "store", _broken(fitted.store))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            archive = compress(
                {"a.weight": NORMAL, "b.bias": NORMAL[0].clone()}, Plan(Rule("a.*", Interval(4)), Rule("*", Half()))
            )
    entry, other = archive.manifest.entries
    assert (entry.reason, other.reason) == (OUT_OF_BOUND, None)
    assert torch.equal(archive.restore()["a.weight"], NORMAL)
    told = [record.getMessage() for record in caplog.records if "by more than its error bound" in record.getMessage()]
    assert len(told) == 1
    assert "a.weight" in told[0]


def test_a_method_that_states_no_bound_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = type(Interval(4).fit([NORMAL]))
    monkeypatch.setattr(fitted, "store", _broken(fitted.store))
    monkeypatch.delattr(fitted, "error_bound")
    (entry,) = compress({"w": NORMAL}, Plan(Rule("*", Interval(4)))).manifest.entries
    assert entry.reason is None


def test_a_bound_of_another_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = type(Interval(4).fit([NORMAL]))
    monkeypatch.setattr(fitted, "error_bound", lambda *_, **__: torch.ones(7))
    with pytest.raises(PlanError, match=r"of \w+ has the shape \[7\], expected one number, or .* the 3000 weights"):
        compress({"w": NORMAL}, Plan(Rule("*", Interval(4))))


def test_bounds_of_huge_weights_do_not_overflow() -> None:
    huge = NORMAL.double() * 1e300
    check, payload, restored = _checked(huge, (Interval(4),))
    assert check.holds(payload, restored)
    assert not check.holds(payload, restored.flip(0))


def test_an_exact_tensor_needs_no_bound() -> None:
    check = SourceCheck(NORMAL.int(), Raw())
    assert check.holds(RawPayload(NORMAL.int()), NORMAL.int())


def test_subnormal_scales_divide_as_well_as_others() -> None:
    """Their inverse overflows: weights of a group were once all restored as its largest."""
    for dtype in DTYPES:
        tensor = (NORMAL.double() * torch.finfo(dtype).smallest_normal / 8).to(dtype)
        for method in (GroupWise(8, 16, 16), Logarithmic(6, "row")):
            with naming((method, dtype)):
                (entry,) = compress({"w": tensor}, Plan(Rule("*", method))).manifest.entries
                assert entry.reason not in (OUT_OF_BOUND, OUT_OF_RANGE)


def test_large_tensors_are_checked_alike_with_and_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bound for all, one for each weight, pruned weights; the last chunk is shorter."""
    tensor = torch.randn(700, 900, generator=torch.Generator().manual_seed(1))
    tensor[0, :3] = torch.tensor([float("nan"), float("inf"), 3e38])
    for methods in ((Half(),), (Interval(6), Half()), (Prune(0.3), Interval(6, 0.9), Raw()), (Prune(0.3), Half())):
        check, payload, restored = _checked(tensor, methods)
        moved = [restored.clone() for _ in range(2)]
        moved[0][600, 17] += 1
        if check.pruned is not None:
            moved[1].reshape(-1)[int(check.pruned.int().argmax())] = 1e-30
        for compiler in (True, False):
            monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
            with naming((methods, compiler)):
                assert check.holds(payload, restored)
                assert not check.holds(payload, moved[0])
                assert check.holds(payload, moved[1]) == (check.pruned is None)
