"""Figure 1: histograms of the weights before and after pruning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import pairwise

import numpy as np
from torch import Tensor

from lightning_compress import Prune
from lightning_compress.weights import Weights, smallest_magnitudes
from recipes.paper.experiments.combination import combination_of
from recipes.paper.experiments.experiment import Experiment, Part, Row, percent, uniform_plan
from recipes.paper.measurement.context import ExperimentContext

BINS = 101  # odd, so that 0 lies in the middle of one
SHOWN = 0.99  # share of the weights inside the range; outliers would compress all others into one bin
COLUMNS = ("state", "left", "right", "weights")


def parts(context: ExperimentContext) -> list[Part]:
    """The weights before pruning, and restored from a file after each pruning scheme at the same share."""
    return [partial(_state, state=state) for state in ("before", "class-blind", "class-uniform")]


def _state(context: ExperimentContext, *, state: str) -> list[Row]:
    share = combination_of(context.module, context.settings).prune
    edges = edges_of(context.weights)
    if state == "before":
        tensors: Mapping[str, Tensor] = context.weights.state_dict()
    else:
        context.on_point(f"histogram, {state}, {percent(share)} pruned")
        tensors = context.compressor.round_trip(uniform_plan(Prune(share, state))).tensors  # type: ignore[arg-type]
    counts = histogram((tensors[weight.name] for weight in context.weights), edges)
    bins = zip(pairwise(edges.tolist()), counts.tolist(), strict=True)
    return [{"state": state, "left": left, "right": right, "weights": count} for (left, right), count in bins]


def edges_of(weights: Weights) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Edges of bins of equal width, centred on 0, that reach as far as the :data:`SHOWN` smallest weights."""
    tensors = [weight.tensor for weight in weights]
    cut = smallest_magnitudes(tensors, [round(SHOWN * sum(tensor.numel() for tensor in tensors))])[0]
    return np.linspace(-cut.magnitude, cut.magnitude, BINS + 1)


def histogram(
    tensors: Iterable[Tensor], edges: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """How many weights lie between neighbouring edges; those outside all of them are not counted."""
    counts = np.zeros(len(edges) - 1, np.int64)
    for tensor in tensors:
        counts += np.histogram(tensor.double().numpy().reshape(-1), edges)[0]
    return counts


FIG1 = Experiment("fig1", COLUMNS, parts)
