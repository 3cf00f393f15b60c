"""An evaluation by how often a network agrees with itself, and a family that needs no quantizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from lightning_compress import Plan, Raw, Rule, Score, compress
from lightning_compress.archive import Archive
from lightning_compress.weights import Weights


class Agreement:
    """How many percent of 640 answers are those of the module it was made with."""

    def __init__(self, module: nn.Module, *, statistics: bool = False) -> None:
        generator = torch.Generator().manual_seed(1)
        self.noise = torch.randn(640, 24, generator=generator) / 4
        self.ids = torch.arange(64).repeat(10)
        self.statistics = statistics
        self.calls = 0
        self.right = self._answers(module.eval())

    def __call__(self, module: nn.Module) -> float | Score:
        self.calls += 1
        same = 100.0 * (self._answers(module) == self.right)
        return Score.mean_of(same.numpy()) if self.statistics else float(same.mean())

    @torch.no_grad()
    def _answers(self, module: nn.Module) -> torch.Tensor:
        return (module(self.ids) + self.noise).argmax(-1)


_ARCHIVES: dict[tuple, Archive] = {}


def _compressed(weights: Weights) -> Archive:
    """The archive of exactly these values; what another search has already compressed is taken from there."""
    key = weights.fingerprint, weights.class_path, weights.excluded, *(weight.class_name for weight in weights)
    if key not in _ARCHIVES:
        _ARCHIVES[key] = compress(weights, Plan(Rule("*", Raw())))
    return _ARCHIVES[key]


@dataclass(frozen=True, eq=False)
class Rounded:
    """Weights rounded to multiples of ``2^strength`` standard deviations; the coders make them small."""

    weights: Weights
    weakest: float = -8.0
    strongest: float = 3.0
    parts: tuple[str, ...] = ()
    offsets: Mapping[str, float] = field(default_factory=dict)
    predicted: dict[int, dict[str, int]] = field(default_factory=dict)

    @property
    def shares(self) -> dict[str, float]:
        sizes = {part: sum(w.tensor.numel() for w in self.weights if w.class_name == part) for part in self.parts}
        return {part: size / sum(sizes.values()) for part, size in sizes.items()}

    def archive(self, strength: float) -> Archive:
        def rounded(weight):
            if weight.tensor.ndim < 2:
                return weight
            step = weight.tensor.std() * 2.0 ** (strength + self.offsets.get(weight.class_name, 0.0))
            return replace(weight, tensor=(weight.tensor / step).round() * step)

        return _compressed(replace(self.weights, weights=tuple(map(rounded, self.weights))))

    def predict_bytes(self, strength: float) -> float:
        """For each part between the archives of two whole strengths, and a tenth too much."""
        return 1.1 * sum(self._between(part, strength + self.offsets.get(part, 0.0)) for part in ("", *self.parts))

    def _between(self, part: str, strength: float) -> float:
        below = math.floor(strength)
        beyond = strength - below
        return self._measured(below)[part] ** (1 - beyond) * self._measured(below + 1)[part] ** beyond

    def _measured(self, strength: int) -> dict[str, int]:
        if strength not in self.predicted:
            archive = self.with_offsets({}).archive(strength)
            entries = archive.manifest.entries
            found = {part: sum(e.coded_bytes for e in entries if e.class_name == part) for part in self.parts}
            self.predicted[strength] = {**found, "": archive.nbytes - sum(found.values())}
        return self.predicted[strength]

    def with_offsets(self, offsets: Mapping[str, float]):
        return replace(self, offsets=offsets)

    def shares_trials_with(self, other) -> bool:
        return isinstance(other, Rounded) and other.predicted is self.predicted
