"""This package's files of the same matrices: grids guided by inputs, as the search makes them without calibration data.

Bytes are those of the stored streams, tables of the coders included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from benchmarks.published.code_length import SCALE_BITS
from benchmarks.published.linear_maps import DAMPING, LinearMaps, Rounded, damped
from lightning_compress import Weights
from lightning_compress.quantize import GridGuide, feedback_factor
from lightning_compress.search import PlanFamily, input_guided_families

FINE = 16  # steps of columns are stored in this part of an octave


def guided(maps: LinearMaps, strength: float) -> Rounded:
    """The search's own grids."""
    return _rounded(maps, _family(maps), strength, {})


def with_column_steps(maps: LinearMaps, strength: float, *, power: float) -> Rounded:
    """The same with steps of columns: each column is divided by its factor before it is rounded, as its inputs are.

    Args:
        maps: the matrices.
        strength: of the grids.
        power: 1 for steps in proportion to 1 / L[c, c], as in WaterSIC; less for steps nearer to each other.
    """
    family, factors = _with_columns(maps, power)
    return _rounded(maps, family, strength, factors)


@cache
def _family(maps: LinearMaps) -> PlanFamily:
    return input_guided_families(maps.all_weights, maps.observer.observations)[0]


@cache
def _with_columns(maps: LinearMaps, power: float) -> tuple[PlanFamily, Mapping[str, Tensor]]:
    state, guides, factors = dict(maps.source.state), dict(_family(maps).guidance), {}
    for name, matrix in maps.weights.items():
        guide = guides[name]
        assert isinstance(guide, GridGuide)
        assert guide.factor is not None
        octaves = power * guide.factor.diagonal().double().log2()
        factors[name] = torch.exp2(((octaves - octaves.mean()) * FINE).round() / FINE)
        state[name] = (matrix / factors[name]).float().reshape(state[name].shape)
        curvature = factors[name][:, None] * damped(maps.moments[name], DAMPING) * factors[name]
        guides[name] = GridGuide(guide.exponents, feedback_factor(curvature, 1e-9))
    weights = Weights.from_state_dict(state, module=maps.source.yardstick.model)
    return replace(input_guided_families(weights, {})[0], guidance=guides), factors


def _rounded(maps: LinearMaps, family: PlanFamily, strength: float, factors: Mapping[str, Tensor]) -> Rounded:
    archive = family.archive(strength)
    restored, weights = archive.restore(), {}
    for name, matrix in maps.weights.items():
        weights[name] = restored[name].double().reshape(matrix.shape) * factors.get(name, 1.0)
    stored = sum(row.bytes for row in archive.report().rows if row.name in maps.weights)
    return Rounded(weights, 8 * stored + SCALE_BITS * sum(map(len, factors.values())))
