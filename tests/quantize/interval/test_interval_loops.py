"""Compiled loops of the interval quantizer give what torch gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lightning_compress import Half, Interval, Raw
from lightning_compress.quantize import Codebook, IndexedPayload, RawPayload, store_pruned
from lightning_compress.runtime import compiler as compiler_module

ENOUGH = 200_000  # for the compiled loops


def weights() -> Tensor:
    """With both zeros, numbers at the borders of pieces and of the interval, NaN, infinity and subnormal numbers."""
    values = torch.randn(ENOUGH, generator=torch.Generator().manual_seed(0))
    values[::5] = (values[::5] * 16).round() / 16
    values[:7] = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-45, -2e38])
    return values


def both(monkeypatch: pytest.MonkeyPatch, make) -> list:
    """What a function returns with compiled loops and without."""
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        found.append(make())
    return found


@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("restore", ["left", "middle", "right"])
@pytest.mark.parametrize(("bits", "coverage"), [(1, 0.5), (4, 0.98), (8, 1.0), (16, 0.9), (5, 0.0)])
def test_indices_outliers_and_values_do_not_depend_on_the_compiler(monkeypatch, bits, coverage, restore, pruned):
    tensor = weights().reshape(400, 500)
    mask = torch.arange(ENOUGH) % 3 == 0 if pruned else None

    def stored():
        payload = Interval(bits, coverage, restore).fit([tensor]).store(tensor, Raw(), pruned=mask)
        return payload.indices, payload.outliers.restore(), payload.restore().view(torch.int32)

    compiled, plain = both(monkeypatch, stored)
    assert compiled[0].dtype == plain[0].dtype
    assert len(compiled[1]) >= (2 if pruned else 3)
    for ours, theirs in zip(compiled, plain, strict=True):
        assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))


def test_a_tensor_that_is_only_pruned_does_not_depend_on_the_compiler(monkeypatch):
    mask = torch.arange(ENOUGH) % 3 == 0
    compiled, plain = both(monkeypatch, lambda: store_pruned(weights(), Half(), mask).restore().view(torch.int32))
    assert torch.equal(compiled, plain)


@pytest.mark.parametrize("stored", [2, 4])
def test_a_wrong_number_of_outliers_is_an_error_and_no_other_memory_is_read(monkeypatch, stored):
    codebook = Codebook(-1.0, 0.5, 4)
    indices = torch.zeros(ENOUGH, dtype=torch.uint8)
    indices[[5, 700, 150_000]] = codebook.outlier
    payload = IndexedPayload(indices, codebook, RawPayload(torch.ones(3)), (ENOUGH,), torch.float32)

    def restored():
        assert int((payload.restore() == 1).sum()) == 3
        with pytest.raises(ValueError, match=f"3 indices are marked as outliers, and {stored} outliers are given"):
            replace(payload, outliers=RawPayload(torch.ones(stored))).restore()

    both(monkeypatch, restored)
