"""Statistics of one compressed file: histograms, and errors if the exact weights are available."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lightning_compress.archive import Archive, Entry, Manifest, Report
from lightning_compress.charts import Histogram, common_bins, histogram_of
from lightning_compress.files.companion_names import EARLIER_SUFFIX
from lightning_compress.report.exact_weights import Checkpoints, ExactWeights


@dataclass(frozen=True)
class RestorationError:
    """Difference between restored and exact weights.

    Attributes:
        error: ‖w − ŵ‖².
        energy: ‖w‖².
        zeros: number of exact weights that are 0.
    """

    error: float
    energy: float
    zeros: int

    @property
    def relative(self) -> float:
        """‖w − ŵ‖² / ‖w‖²; NaN if all exact weights are 0 and the restored ones are not."""
        if self.energy:
            return self.error / self.energy
        return math.nan if self.error else 0.0

    @classmethod
    def total(cls, parts: Iterable[RestorationError]) -> RestorationError:
        """The error of several tensors together."""
        listed = list(parts)
        return cls(sum(p.error for p in listed), sum(p.energy for p in listed), sum(p.zeros for p in listed))


@dataclass(frozen=True, eq=False)
class FileStatistics:
    """Sizes, histograms and errors of one valid file.

    Attributes:
        path: path of the file.
        manifest: manifest of the file.
        report: sizes.
        exact: the source of the exact weights, or why there are none; their tensors are dropped.
        before: class → histogram of the exact weights; empty without them.
        after: class → histogram of the restored weights.
        errors: tensor → its restoration error; empty without the exact weights.
        copies: other files with the same content.
    """

    path: Path
    manifest: Manifest
    report: Report
    exact: ExactWeights
    before: Mapping[str, Histogram]
    after: Mapping[str, Histogram]
    errors: Mapping[str, RestorationError]
    copies: tuple[Path, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the file and of its copies, without the suffix."""
        return tuple(path.name.removesuffix(EARLIER_SUFFIX).removesuffix(".compressed") for path in self.paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Paths of the file and of its copies."""
        return (self.path, *self.copies)

    @property
    def is_fp32(self) -> bool:
        """Whether all floating-point tensors are float32."""
        return {e.torch_dtype for e in self.manifest.entries if e.torch_dtype.is_floating_point} == {torch.float32}

    @property
    def step(self) -> float:
        """Global step of the checkpoint that the file was made from; NaN if it is not known."""
        step = self.manifest.checkpoint.get("global_step")
        return float(step) if isinstance(step, int) else math.nan


def file_statistics(
    path: Path, archive: Archive, checkpoints: Checkpoints, on_tensor: Callable[[Entry], None] | None = None
) -> FileStatistics:
    """Decode a file, and compare it with the exact weights if they are available.

    Args:
        path: path of the file.
        archive: the opened file.
        checkpoints: where the exact weights are searched.
        on_tensor: called after each decoded tensor, for progress.

    Raises:
        FormatError, ChecksumError: a stream or an attached file is damaged.
    """
    restored = archive.restore(on_tensor=on_tensor)
    archive.assets()  # decoded to verify their checksums
    found = checkpoints.exact_weights(path, archive.manifest)
    exact = found.tensors
    before: dict[str, Histogram] = {}
    after: dict[str, Histogram] = {}
    for class_name, names in _floating_point_names(archive.manifest).items():
        stored = [restored[name] for name in names]
        span, bins = common_bins([(exact or restored)[name] for name in names], stored)
        after[class_name] = histogram_of(stored, bins, span)
        if exact is not None:
            before[class_name] = histogram_of([exact[name] for name in names], bins, span)
    errors = {} if exact is None else {name: _error(tensor, restored[name]) for name, tensor in exact.items()}
    source = replace(found, tensors=None)
    return FileStatistics(path, archive.manifest, archive.report(), source, before, after, errors)


def _floating_point_names(manifest: Manifest) -> dict[str, list[str]]:
    """Class → names of its floating-point tensors."""
    names: dict[str, list[str]] = {}
    for entry in manifest.entries:
        if entry.torch_dtype.is_floating_point and entry.elements:
            names.setdefault(entry.class_name, []).append(entry.name)
    return names


def _error(exact: Tensor, restored: Tensor) -> RestorationError:
    exact = exact.detach().cpu()
    if not exact.is_floating_point():
        return RestorationError(0.0, 0.0, exact.numel() - int(torch.count_nonzero(exact)))
    first, second = exact.float(), restored.float()
    error, energy = (
        float(torch.linalg.vector_norm(each, dtype=torch.float64)) ** 2 for each in (first - second, first)
    )
    return RestorationError(error, energy, first.numel() - int(torch.count_nonzero(first)))
