"""Round trip of weights: compress, write a file, read it back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from torch import Tensor

from lightning_compress import Archive, Plan, Raw, Rule, Weights, compress
from lightning_compress.weights import Weight

LOSSLESS = Plan(Rule("*", Raw()))


@dataclass(frozen=True, eq=False)
class RoundTrip:
    """The content of a file that was read back.

    Attributes:
        tensors: every tensor by name, as restored.
        bytes: its size.
        zeros: share of the weights that are 0, 0 to 1.
    """

    tensors: Mapping[str, Tensor]
    bytes: int
    zeros: float


@dataclass(eq=False)
class Compressor:
    """Compresses one model's weights to files. Weights that no rule changes are coded only once.

    Attributes:
        weights: the exact weights, with everything else the file contains.
    """

    weights: Weights

    @cached_property
    def exact(self) -> Archive:
        """The archive of the exact weights."""
        return compress(self.weights, LOSSLESS)

    def archive(self, plan: Plan) -> Archive:
        """The archive that ``compress(weights, plan)`` makes.

        Raises:
            PlanError: the plan does not fit the model.
        """
        treated = [w for w, rule in zip(self.weights, plan.assign(self.weights), strict=True) if rule is not None]
        if plan == LOSSLESS:
            return self.exact
        if len(treated) == len(self.weights):
            return compress(self.weights, plan)
        return self._joined(compress(self._part(treated), plan))

    def round_trip(self, plan: Plan) -> RoundTrip:
        """Compress, write a file, open it and read everything back.

        Raises:
            PlanError: the plan does not fit the model.
        """
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "point.safetensors"
            self.archive(plan).save(path)
            archive = Archive.open(path)
            return RoundTrip(archive.restore(), path.stat().st_size, archive.report().sparsity)

    def _part(self, treated: list[Weight]) -> Weights:
        names = {weight.name for weight in treated}
        ties = {name: tie for name, tie in self.weights.ties.items() if tie.of in names}
        return replace(self.weights, weights=tuple(treated), ties=ties)

    def _joined(self, part: Archive) -> Archive:
        """The exact archive with the tensors of a part in their place."""
        entries = {entry.name: entry for entry in part.manifest.entries}
        manifest = replace(
            self.exact.manifest,
            entries=tuple(entries.get(entry.name, entry) for entry in self.exact.manifest.entries),
            plan=part.manifest.plan,
        )
        return Archive(manifest, {**self.exact.streams, **part.streams})
