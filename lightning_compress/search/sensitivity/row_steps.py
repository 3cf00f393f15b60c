"""Steps of rows: how much finer a row is than its matrix, by sensitivities that few data have shown.

With full knowledge the step of a row is inversely proportional to the root of its sensitivity. What is known is what
some hundred examples show: half of the words of a vocabulary may not occur in them, and yet occur later. So each row
counts as if a share of the mean had been seen of it besides (additive smoothing, Bayes' rule for counts under a gamma
prior). How large that share is the data tell themselves: it is the one with which the steps that one half of them asks
for do the least harm to the other half.

Rows that are looked up may be the words that another matrix answers with. Of an answer every word has a probability,
which tells far more of rare words than a few lookups do. So for a part of the sensitivity a matrix of as many rows is
asked, and that part too is the one that serves the other half best: none where the two have nothing in common.

Sources: Chung et al. 2020, "Extremely low bit Transformer quantization for on-device neural machine translation" (bits
by how frequent words are); Stone 1974, "Cross-validatory choice and assessment of statistical predictions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_RANGE = 3.75  # octaves around the tensor's step that those of rows keep to
_ROW_STEP = 8  # of 1/32 octave: exponents are multiples of it, and so cost few bits
_PRIORS = tuple(2.0**-power for power in range(-2, 8))  # of the mean, for one half of the data
_USUAL_PRIOR = 1 / 4  # where there is no other half to ask
_PARTS = (0.25, 0.5, 0.75, 0.9)  # of the sensitivity, that another matrix tells
_TABLE = 64  # rows, from which on another matrix of as many is no coincidence


@dataclass(frozen=True, eq=False)
class RowSteps:
    """Steps of the rows of one matrix.

    Attributes:
        exponents: ``[rows]`` int32, 32nds of an octave.
        harm: the sensitivity of each row times the square of its step, summed over the rows, for data that were not
            seen; the step of the matrix is 1.
    """

    exponents: Tensor
    harm: float


def row_steps(halves: Tensor, others: Iterable[Tensor] = ()) -> RowSteps:
    """Steps for one matrix.

    Args:
        halves: ``[2, rows]``, the sensitivity of each row as either half of the data shows it; not all 0.
        others: halves of other matrices, of as many rows, that may tell of these.
    """
    seen = halves.double()
    if not bool(seen.any(1).all()):
        exponents = _exponents(seen.sum(0), _USUAL_PRIOR)
        return RowSteps(exponents, float((seen.sum(0) * squared_steps(exponents)).sum()))
    tried = [(_harm_to_the_other(told, seen, prior), prior, told) for told in _told(seen, others) for prior in _PRIORS]
    harm, prior, told = min(tried, key=lambda one: one[0])
    # Twice the data show twice as much of a row, so that the prior counts for half as much.
    exponents = _exponents(told.sum(0), prior / 2)
    return RowSteps(exponents, harm * mean_square(exponents))


def rounded_exponents(octaves: Tensor, reach: float) -> Tensor:
    """``[rows]`` int32 exponents, in 1/32 octave, of steps that are kept within ``reach`` octaves of the matrix's."""
    return torch.round(octaves.clamp(-reach, reach) * 32 / _ROW_STEP).int() * _ROW_STEP


def row_exponents(sensitivities: Tensor) -> Tensor:
    """``[rows]`` int32 exponents of steps that are inversely proportional to the roots of sensitivities above 0."""
    octaves = -0.5 * torch.log2(sensitivities)
    return rounded_exponents(octaves - octaves.mean(), _RANGE)


def mean_square(exponents: Tensor) -> float:
    """Geometric mean of the squared steps."""
    return float(squared_steps(exponents).log().mean().exp())


def tellers(halves: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Name of each table, some of whose rows were not seen → the matrices of as many rows, all of which were.

    Args:
        halves: name → ``[2, rows]``.
    """
    full = {name: bool(part.all()) for name, part in halves.items()}
    return {
        name: [other for key, other in halves.items() if full[key] and other.shape == part.shape]
        for name, part in halves.items()
        if not full[name] and part.shape[1] >= _TABLE
    }


def _told(seen: Tensor, others: Iterable[Tensor]) -> Iterator[Tensor]:
    """What either half may be taken to tell, ``[2, rows]`` each: what it shows, alone and mixed with others."""
    yield seen
    for other in others:
        level = seen.sum() / other.double().sum()
        for part in _PARTS:
            yield (1 - part) * seen + part * level * other.double()


def _harm_to_the_other(told: Tensor, seen: Tensor, prior: float) -> float:
    """What steps by one half do to the other, both ways added up; the geometric mean of the squared steps is 1."""
    harm = 0.0
    for one, other in zip(told, seen.flip(0), strict=True):
        exponents = _exponents(one, prior)
        harm += float((other * squared_steps(exponents)).sum()) / mean_square(exponents)
    return harm


def _exponents(sensitivities: Tensor, prior: float) -> Tensor:
    """``[rows]`` int32."""
    octaves = -0.5 * torch.log2((sensitivities / sensitivities.mean() + prior) / (1 + prior))
    return rounded_exponents(octaves, _RANGE)


def squared_steps(exponents: Tensor) -> Tensor:
    """``[rows]`` float64: squared steps."""
    return torch.exp2(exponents.double() / 16)
