"""Counts of words, and the models that are fitted to them: compiled loops give what NumPy gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lightning_compress.coding.coder import Statistics
from lightning_compress.coding.counting import occurrences
from lightning_compress.coding.models import adaptive, model_fit
from lightning_compress.coding.models.adaptive import Alphabet
from lightning_compress.coding.models.adaptive_fit import AdaptiveFit
from lightning_compress.runtime import compiler as compiler_module


@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("count", [0, 1, 1 << 17, (1 << 17) + 1, 3_000_000])
def test_occurrences_do_not_depend_on_the_compiler(monkeypatch, width, count):
    drawn = np.random.default_rng(count).integers(0, 200, count).astype(f"<u{width}")
    found = []
    for compiler in (True, False):
        monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
        found.append(occurrences(drawn, 250).tolist())
    assert found[0] == found[1] == np.bincount(drawn.astype(np.int64), minlength=250).tolist()


@pytest.mark.parametrize("symbols", [2, 9, 200])
@pytest.mark.parametrize("groups", [(), (5000,), (3000, 0, 1999, 1)])
def test_the_fitted_model_does_not_depend_on_the_compiler(monkeypatch, symbols, groups):
    scale = np.repeat([1.0, 3.0, 0.5], [3000, 1999, 1])[:5000] if len(groups) > 1 else 1.0
    drawn = np.abs(np.random.default_rng(symbols).normal(size=5000) * scale * symbols / 8)
    stream = np.minimum(drawn, symbols - 1).astype(np.uint8)
    stream[0] = symbols - 1
    found = []
    for compiler in (True, False):
        for module in (adaptive, model_fit):
            monkeypatch.setattr(module, "has_compiler", lambda compiler=compiler: compiler)
        fitted = AdaptiveFit.of(Statistics(stream, groups))
        found.append((fitted.header, fitted.blocks.seen.tolist(), fitted.blocks.before.tolist()))
        model, scales = fitted.model
        for pooled in (False, True):
            signed = replace(model, alphabet=Alphabet(symbols, None), pooled=pooled)
            found[-1] += (fitted.blocks.weights(signed, scales).tolist(),)
    assert found[0] == found[1]
    assert (found[0][3] != found[0][4]) == (symbols > 2)
