"""Rate-penalised training: the gradient of the code length beside that of the loss."""

from __future__ import annotations

from dataclasses import replace

import torch

from lightning_compress.archive import Archive
from lightning_compress.compression import payloads_of
from lightning_compress.compression.payloads import smallest_coding
from lightning_compress.errors import PlanError
from lightning_compress.plan import Plan
from lightning_compress.quantize import Grid, GridPayload
from lightning_compress.runtime import one_thread
from lightning_compress.training.latent import LatentWeights
from lightning_compress.training.rate.code_lengths import CodeLengths
from lightning_compress.weights import Weights


class RatePenalty:
    """The code lengths of all grid indices of a model.

    Args:
        latent: the weights; the rules that quantize have a :class:`Grid` without a trellis and without a rate weight.

    Attributes:
        weights: how many there are.
        exact_bytes: of all tensors, as they are.
        beside: bytes of the file that are no streams, taken to be as many as in the first file; None before it.

    Raises:
        PlanError: the plan has no such grid.
    """

    def __init__(self, latent: LatentWeights) -> None:
        check_rate_plan(latent.guided.plan)
        self._latent = latent
        if latent.steps is not None:
            latent.steps.keeps_mean = False
        self.weights = sum(weight.tensor.numel() for weight in latent.weights)
        self.exact_bytes = exact_bytes(latent.weights)
        self._lengths: dict[str, CodeLengths] = {}
        self.beside: int | None = None

    @property
    def is_measured(self) -> bool:
        """Whether there are code lengths."""
        return bool(self._lengths)

    def forget(self) -> None:
        """Forget the code lengths, so that they are measured before they are used again."""
        self._lengths = {}

    def least_bytes(self) -> int:
        """The bytes of a file whose grid indices cost nothing, about: its manifest and what is not on a grid."""
        grids = {
            each.weight.name
            for each in self._latent.treated
            if isinstance(each.rule.quantizer, Grid) and each.weight.tensor.dim() > 1
        }
        archive = self._archive()
        coded = {entry.name: entry.coded_bytes for entry in archive.manifest.entries}
        self.beside = archive.nbytes - sum(coded.values())
        return archive.nbytes - sum(coded[name] for name in grids)

    def file_bytes(self) -> int:
        """The bytes of the file of the latent weights, which must be in the module."""
        return self._archive().nbytes

    def _archive(self) -> Archive:
        return self._latent.guided.compress(replace(self._latent.weights))

    @torch.no_grad()
    def measure(self) -> int:
        """Fit the models to the latent weights, which must be in the module.

        Returns:
            The bytes of their file, but for a few in its manifest.
        """
        if self.beside is None:
            self.least_bytes()
        assert self.beside is not None
        size, weights, guided = self.beside, self._latent.weights, self._latent.guided
        with one_thread():
            for weight, payload in zip(weights, payloads_of(weights, guided.plan, guided.guidance), strict=True):
                size += smallest_coding(weight, payload)[0].coded_bytes
                if isinstance(payload, GridPayload) and payload.points.numel():
                    self._lengths[weight.name] = CodeLengths.of(payload).to(weight.tensor.device)
        return size

    @torch.no_grad()
    def add_gradients(self, rate_weight: float) -> None:
        """Add ``rate_weight`` times the gradient of the bits for each weight to the gradients of the parameters.

        Learned steps get theirs too: an index is w / s, so a step that grows acts as weights that shrink.

        The latent weights must be in the module. Parameters without a gradient, which the optimizer does not update,
        get none.
        """
        for each in self._latent.treated:
            name, binding, steps = each.weight.name, each.bindings[0], self._latent.steps
            lengths = self._lengths.get(name)
            if lengths is not None and binding.parameter.grad is not None:
                if steps is not None:
                    lengths = lengths.with_scales(steps.scales(name))
                slope = lengths.gradient(each.weight.tensor)
                if steps is not None:
                    steps.add(name, -rate_weight / self.weights * lengths.shifted(each.weight.tensor) * slope)
                slope = slope if binding.tie is None else binding.tie.view(slope)
                binding.parameter.grad.add_(slope, alpha=rate_weight / self.weights)


def exact_bytes(weights: Weights) -> int:
    """The bytes of all tensors as they are, which a ratio refers to."""
    return sum(weight.tensor.numel() * weight.tensor.element_size() for weight in weights)


def check_rate_plan(plan: Plan) -> None:
    """Raise a PlanError where a grid of the plan is not one whose rate has a gradient, or where there is none."""
    grids = [method for rule in plan.rules for method in rule.methods if isinstance(method, Grid)]
    if not grids:
        raise PlanError("rate-penalised training needs a rule with Grid, such as Grid(0.05, trellis=0, rate_weight=0)")
    for grid in grids:
        if grid.trellis or grid.rate_weight:
            raise PlanError(
                f"{grid} takes points by their rate, which training then works against: write trellis=0, rate_weight=0"
            )
