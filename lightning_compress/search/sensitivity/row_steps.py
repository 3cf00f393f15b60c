"""Step sizes per row: how much finer a row is quantized than its matrix, from sensitivities estimated on few data.

If the sensitivity of a row were known, its best step would be inversely proportional to the root of that sensitivity.
The estimates come from some hundred examples, in which half the words of a vocabulary may not occur, although they
occur later. So a share of the mean sensitivity is added to each row (additive smoothing: Bayes' rule for counts under a
gamma prior). Two-fold cross-validation selects the share: the one with which steps chosen on one fold have the least
distortion on the other.

The rows of an embedding table may be the words that another matrix predicts. Each prediction gives every word a
probability, which says much more about rare words than a few lookups. So the sensitivity of a matrix with equally many
rows may be mixed in, and cross-validation selects its share too: none if the two matrices have nothing in common.

Sources: Chung et al. 2020, "Extremely low bit Transformer quantization for on-device neural machine translation" (bits
by word frequency); Stone 1974, "Cross-validatory choice and assessment of statistical predictions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_OCTAVES = 3.75  # between the step of a row and that of its matrix
_EXPONENT_UNIT = 8  # in 1/32 octave: exponents are multiples of it, which saves bits
_PRIORS = tuple(2.0**-power for power in range(-2, 8))  # relative to the mean sensitivity of one fold
_DEFAULT_PRIOR = 1 / 4  # if one fold is empty
_AUXILIARY_SHARES = (0.25, 0.5, 0.75, 0.9)  # share of the sensitivity that comes from another matrix
_MIN_TABLE_ROWS = 64  # matrices with fewer rows may have equally many by coincidence


@dataclass(frozen=True, eq=False)
class RowSteps:
    """Step sizes of the rows of one matrix.

    Attributes:
        exponents: ``[rows]`` int32, step relative to that of the matrix, in 1/32 octave.
        distortion: cross-validated estimate of the sensitivity of each row times its squared step, summed over the
            rows; the step of the matrix is 1.
    """

    exponents: Tensor
    distortion: float


def row_steps(folds: Tensor, auxiliary: Iterable[Tensor] = ()) -> RowSteps:
    """The step sizes of one matrix.

    Args:
        folds: ``[2, rows]``: sensitivity of each row, estimated on each fold; not all 0.
        auxiliary: folds of other matrices with equally many rows, whose sensitivities may be similar.
    """
    measured = folds.double()
    if not bool(measured.any(1).all()):
        exponents = _exponents(measured.sum(0), _DEFAULT_PRIOR)
        return RowSteps(exponents, float((measured.sum(0) * squared_steps(exponents)).sum()))
    candidates = [
        (_cross_validated_distortion(estimate, measured, prior), prior, estimate)
        for estimate in _estimates(measured, auxiliary)
        for prior in _PRIORS
    ]
    distortion, prior, estimate = min(candidates, key=lambda candidate: candidate[0])
    # Both folds together have twice the data, so the prior gets half the weight.
    exponents = _exponents(estimate.sum(0), prior / 2)
    return RowSteps(exponents, distortion * mean_square(exponents))


def rounded_exponents(octaves: Tensor, max_octaves: float) -> Tensor:
    """``[rows]`` int32 exponents in 1/32 octave, for steps at most ``max_octaves`` away from that of the matrix."""
    return torch.round(octaves.clamp(-max_octaves, max_octaves) * 32 / _EXPONENT_UNIT).int() * _EXPONENT_UNIT


def row_exponents(sensitivities: Tensor) -> Tensor:
    """``[rows]`` int32 exponents of steps inversely proportional to the roots of positive sensitivities."""
    octaves = -0.5 * torch.log2(sensitivities)
    return rounded_exponents(octaves - octaves.mean(), _MAX_OCTAVES)


def squared_steps(exponents: Tensor) -> Tensor:
    """``[rows]`` float64: squared steps."""
    return torch.exp2(exponents.double() / 16)


def mean_square(exponents: Tensor) -> float:
    """Geometric mean of the squared steps."""
    return float(squared_steps(exponents).log().mean().exp())


def auxiliary_matrices(folds: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Name of each table in which a fold missed some rows → the fully covered matrices with equally many rows.

    Args:
        folds: name → ``[2, rows]``.
    """
    is_covered = {name: bool(part.all()) for name, part in folds.items()}
    return {
        name: [other for key, other in folds.items() if is_covered[key] and other.shape == part.shape]
        for name, part in folds.items()
        if not is_covered[name] and part.shape[1] >= _MIN_TABLE_ROWS
    }


def _estimates(measured: Tensor, auxiliary: Iterable[Tensor]) -> Iterator[Tensor]:
    """Candidate sensitivities ``[2, rows]``: as measured, and mixed with each auxiliary matrix."""
    yield measured
    for other in auxiliary:
        scale = measured.sum() / other.double().sum()
        for share in _AUXILIARY_SHARES:
            yield (1 - share) * measured + share * scale * other.double()


def _cross_validated_distortion(estimate: Tensor, measured: Tensor, prior: float) -> float:
    """Distortion on each fold with the steps of the other, summed; the geometric mean of the squared steps is 1."""
    distortion = 0.0
    for chosen_by, tested_on in zip(estimate, measured.flip(0), strict=True):
        exponents = _exponents(chosen_by, prior)
        distortion += float((tested_on * squared_steps(exponents)).sum()) / mean_square(exponents)
    return distortion


def _exponents(sensitivities: Tensor, prior: float) -> Tensor:
    """``[rows]`` int32."""
    octaves = -0.5 * torch.log2((sensitivities / sensitivities.mean() + prior) / (1 + prior))
    return rounded_exponents(octaves, _MAX_OCTAVES)
