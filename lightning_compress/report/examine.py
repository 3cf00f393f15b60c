"""One compressed file, decoded and compared with the exact weights where they are at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lightning_compress.archive import Archive, Entry, Manifest, Report
from lightning_compress.charts import Histogram, central_range, histogram_of
from lightning_compress.report.exact_weights import exact_beside


@dataclass(frozen=True)
class Distance:
    """How far restored weights are from exact ones: squared error and squared exact weights, summed; zeros before."""

    error: float
    energy: float
    zeros: int

    @property
    def relative(self) -> float:
        """Squared error over squared weights; NaN where all weights are 0 and yet were changed."""
        if self.energy:
            return self.error / self.energy
        return math.nan if self.error else 0.0

    @classmethod
    def total(cls, parts: Iterable[Distance]) -> Distance:
        """Of several tensors together."""
        known = list(parts)
        return cls(sum(p.error for p in known), sum(p.energy for p in known), sum(p.zeros for p in known))


@dataclass(frozen=True, eq=False)
class Examined:
    """What is known of one sound file.

    Attributes:
        path: where it lies.
        manifest: what it says of itself.
        report: its sizes.
        note: where the exact weights are from, or why there are none.
        before: class → histogram of the exact weights; empty without them.
        after: class → histogram of the restored weights.
        distances: tensor → its distance from the exact one; empty without the exact weights.
        copies: other files of the same content.
    """

    path: Path
    manifest: Manifest
    report: Report
    note: str
    before: Mapping[str, Histogram]
    after: Mapping[str, Histogram]
    distances: Mapping[str, Distance]
    copies: tuple[Path, ...] = ()


def examine(path: Path, archive: Archive, on_tensor: Callable[[Entry], None] | None = None) -> Examined:
    """Decode a file and compare it.

    Args:
        path: where it lies.
        archive: what was opened there.
        on_tensor: called after each decoded tensor, for progress.

    Raises:
        FormatError, ChecksumError: a damaged stream or attached file.
    """
    restored = archive.restore(on_tensor=on_tensor)
    archive.assets()  # decoded for their checksums
    exact, note = exact_beside(path, archive.manifest)
    before: dict[str, Histogram] = {}
    after: dict[str, Histogram] = {}
    for class_name, names in _floating(archive.manifest).items():
        span = central_range([(exact or restored)[name] for name in names])
        after[class_name] = histogram_of([restored[name] for name in names], range=span)
        if exact is not None:
            before[class_name] = histogram_of([exact[name] for name in names], range=span)
    distances = {} if exact is None else {name: _distance(tensor, restored[name]) for name, tensor in exact.items()}
    return Examined(path, archive.manifest, archive.report(), note, before, after, distances)


def _floating(manifest: Manifest) -> dict[str, list[str]]:
    """Class → the names of its floating tensors."""
    names: dict[str, list[str]] = {}
    for entry in manifest.entries:
        if entry.torch_dtype.is_floating_point and entry.elements:
            names.setdefault(entry.class_name, []).append(entry.name)
    return names


def _distance(exact: Tensor, restored: Tensor) -> Distance:
    if not exact.is_floating_point():
        return Distance(0.0, 0.0, exact.numel() - int(torch.count_nonzero(exact)))
    first, second = exact.detach().cpu().float(), restored.float()
    error, energy = (
        float(torch.linalg.vector_norm(each, dtype=torch.float64)) ** 2 for each in (first - second, first)
    )
    return Distance(error, energy, first.numel() - int(torch.count_nonzero(first)))
