"""The matrices that are rounded, with the second moments of their inputs, and the loss of rounding them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.rate_distortion.ablation import divergence
from benchmarks.rate_distortion.methods import ours
from benchmarks.rate_distortion.methods.calibration import Text
from benchmarks.rate_distortion.source import Source
from lightning_compress import Weights
from lightning_compress.search import Observer

DAMPING = 0.05  # what this package's error feedback adds to second moments, as a share of their mean


@dataclass(frozen=True)
class Rounded:
    """What a recipe makes of the matrices.

    Attributes:
        weights: name → the values that a reader would restore.
        bits: that they take, steps and scales included.
    """

    weights: Mapping[str, Tensor]
    bits: float


class LinearMaps:
    """The linear maps of a trained model, as one translation of the validation text uses them.

    Args:
        source: the model.

    Attributes:
        source: the model.
        observer: with the statistics of that translation.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.observer = Observer(self.all_weights, source.yardstick.model)
        with ours.loaded(source), torch.no_grad(), self.observer.recording():
            source.bleu(source.state, "val")

    @property
    def all_weights(self) -> Weights:
        """Every tensor of the model."""
        return ours.weights_of(self.source)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Name → ``[rows, columns]`` float64."""
        seen = self.observer.observations
        return {
            name: self.source.state[name].double().reshape(one.rows, one.columns)
            for name, one in seen.items()
            if one.gram is not None
        }

    @cached_property
    def moments(self) -> dict[str, Tensor]:
        """Name → ``[columns, columns]`` float64, mean of x xᵀ over the inputs x."""
        seen = self.observer.observations
        found: dict[str, Tensor] = {}
        for name in self.weights:
            gram = seen[name].gram
            assert gram is not None
            found[name] = gram.double() / seen[name].inputs
        return found

    @cached_property
    def size(self) -> int:
        """Number of weights."""
        return sum(matrix.numel() for matrix in self.weights.values())

    @cached_property
    def text(self) -> Text:
        """What the divergence is measured on."""
        return Text(self.source, "valid")

    def divergence(self, rounded: Mapping[str, Tensor]) -> float:
        """Mean Kullback–Leibler divergence of a word, in nats, with these matrices and all other weights exact."""
        state = dict(self.source.state)
        for name, matrix in rounded.items():
            state[name] = matrix.float().reshape(state[name].shape)
        return divergence(self.source, state, self.text)


def damped(moments: Tensor, share: float) -> Tensor:
    """The moments with a share of their mean diagonal added to the diagonal; that of unused columns is the mean."""
    diagonal = moments.diagonal()
    unused = torch.diag((diagonal == 0).double())
    return moments + (unused + share * torch.eye(len(moments), dtype=torch.float64)) * diagonal.mean()
