"""Walks over the points of a matrix: compiled loops and arrays give the same words, points and values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from each_case import naming

from lightning_compress.errors import FormatError
from lightning_compress.quantize.grid.contexts import Classes
from lightning_compress.quantize.grid.trellis.trellis import TRELLISES, points_of
from lightning_compress.quantize.grid.walk import (
    grouped_words,
    nearest_indices,
    quantized,
    restored_points,
    restored_values,
    scaled_points,
)
from lightning_compress.quantize.grid.walk import points as walk
from lightning_compress.runtime import compiler as compiler_module

CASES = [
    (states, shape, sides)
    for states in (0, *TRELLISES)
    for shape in ((1, 1), (1, 40), (70, 1), (37, 65))
    for sides in ("", "r", "c", "rc")
]


def some_points(states: int, shape: tuple[int, int], largest: int = 5) -> torch.Tensor:
    indices = np.random.default_rng([states, *shape]).integers(-largest, largest + 1, shape[::-1]).astype(np.int16)
    if states:
        indices = points_of(indices, TRELLISES[states].quantizers(indices))
    return torch.from_numpy(np.ascontiguousarray(indices.T))


def some_classes(shape: tuple[int, int], sides: str) -> Classes:
    random = np.random.default_rng(shape)
    rows, columns = (random.integers(0, 4, size).astype(np.uint8) for size in shape)
    return Classes(rows if "r" in sides else None, columns if "c" in sides else None)


def test_points_become_words_and_come_back_with_and_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for states, shape, sides in CASES:
        with naming((states, shape, sides)):
            points, classes = some_points(states, shape, 200 if sides else 5), some_classes(shape, sides)
            found = []
            for compiler in (True, False):
                monkeypatch.setattr(walk, "has_compiler", lambda compiler=compiler: compiler)
                indices, quantizers = quantized(points, states)
                words, groups = grouped_words(indices, quantizers, classes)
                assert torch.equal(restored_points(words, groups, classes, shape, states), points)
                found.append((indices.tolist(), None if quantizers is None else quantizers.tolist(), words, groups))
            assert found[0][:2] == found[1][:2]
            assert found[0][2].dtype == found[1][2].dtype
            assert (found[0][2].tolist(), found[0][3]) == (found[1][2].tolist(), found[1][3])


def test_points_beside_every_path_and_groups_of_other_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    points, classes = some_points(8, (20, 30)), some_classes((20, 30), "rc")
    words, groups = grouped_words(*quantized(points, 8), classes)
    beside = points.clone()
    beside[7, 0] = 1  # the quantizer of the first column is 0, and its points are even
    lies = [(groups[0] + 1, groups[1] - 1, *groups[2:]), (600, *[0] * (len(groups) - 1)), groups[::-1]]
    for compiler in (True, False):
        monkeypatch.setattr(walk, "has_compiler", lambda compiler=compiler: compiler)
        with pytest.raises(ValueError, match="beside every path of the trellis of 8 states"):
            quantized(beside, 8)
        for lie in lies:
            with pytest.raises(FormatError, match=r"context \d+ is said to have"):
                restored_points(words, lie, classes, (20, 30), 8)


def test_values_are_rounded_once_in_every_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    points, classes = some_points(0, (41, 33), 3000), some_classes((41, 33), "rc")
    words, groups = grouped_words(*quantized(points, 0), classes)
    random = np.random.default_rng(1)
    scales = torch.from_numpy(random.uniform(1e-4, 0.3, 41))
    for offsets in (None, torch.from_numpy(random.normal(0, 2, 33))):
        exact = points.double() * scales[:, None] + (0 if offsets is None else offsets)
        for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            for compiler in (True, False):
                monkeypatch.setattr(walk, "has_compiler", lambda compiler=compiler: compiler)
                assert torch.equal(
                    restored_values(words, groups, classes, (41, 33), 0, scales, offsets, dtype), exact.to(dtype)
                )
                assert torch.equal(scaled_points(points, scales, offsets, dtype), exact.to(dtype))


def test_large_matrices_are_rounded_and_scaled_alike_with_and_without_a_compiler(monkeypatch) -> None:
    weights = torch.randn(700, 300, generator=torch.Generator().manual_seed(0)) * 40
    weights[0, :6] = torch.tensor([0.5, 1.5, -2.5, 32760.0, -32760.0, -0.0])
    scales = torch.rand(700, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    offsets = torch.randn(300, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    points = weights.round().to(torch.int16)
    for states in (0, 8):
        for added in (None, offsets):
            found = []
            for compiler in (True, False):
                monkeypatch.setattr(compiler_module, "has_compiler", lambda compiler=compiler: compiler)
                values = scaled_points(points, scales, added, torch.float32)
                found.append((torch.from_numpy(nearest_indices(weights, states)), values.view(torch.int32)))
            assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
