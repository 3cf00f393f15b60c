"""Retargeting: another size of a file that a search made, without data and without evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

import numpy as np
import torch
from torch import nn

from lightning_compress.archive import Archive
from lightning_compress.compression import Source, read_weights
from lightning_compress.compression.exactness import with_reasons_of
from lightning_compress.errors import SearchError
from lightning_compress.plan import Plan
from lightning_compress.quantize import GridGuide
from lightning_compress.search.arguments import check_max_bytes
from lightning_compress.search.families.family import PlanFamily
from lightning_compress.search.families.target_size import fit_bytes, unreachable
from lightning_compress.search.record.frontier import Frontier
from lightning_compress.search.record.manifest_metrics import KEY, reserved_bytes, rounded, with_search_metrics
from lightning_compress.search.record.plan_scaling import scaled_plan
from lightning_compress.weights import Weights

_OCTAVES = 6.0  # by which steps may shrink or grow
_NOT_KEPT = (
    *("score_after", "drop", "interval", "fallback", "retargeted"),
    "recovered",  # of files of earlier versions
    *("expected_drop", "expected_interval", "assured", "confirmed"),
)


def retarget(weights: Source, archive: Archive | str | PathLike[str], max_bytes: int) -> Archive:
    """Make a file of at most ``max_bytes`` with the plan of another file, scaled.

    All steps are multiplied by one factor, the smallest that fits; the proportions between rows are kept. Error
    feedback needs data, so it is left out. Classes, ties, attached files and hyper-parameters are those
    of the given file. Its metrics keep those of the search; ``search/retargeted`` adds the factor and, where the size
    lies inside the frontier, the expected score.

    Args:
        weights: the exact weights that the file was made from.
        archive: a file that :func:`smallest` made, or its path.
        max_bytes: size of the new file.

    Raises:
        SearchError: weights of another file, a file without a frontier or without steps, a size that no factor reaches.
        WeightsError: the weights cannot be read.
        FormatError: the file cannot be read.
    """
    max_bytes = check_max_bytes(max_bytes)
    found = archive if isinstance(archive, Archive) else Archive.open(archive)
    exact = _weights_of(weights, found)
    frontier = Frontier.from_metrics(found.manifest.metrics)
    plan = Plan.from_config(found.manifest.plan)
    if scaled_plan(plan, 4.0) == plan:
        raise SearchError(
            "the plan of the file has no step to make coarser: it was stored in half precision or exactly"
        )

    def plan_at(strength: float, _: Mapping[str, float]) -> Plan:
        return scaled_plan(plan, 2.0**strength)

    before = float(found.manifest.metrics[KEY].get("score_before", 0.0))
    reserve = reserved_bytes(before, len(frontier.points))
    family = PlanFamily(exact, plan_at, -_OCTAVES, _OCTAVES, guidance=_guides_of(found))
    strength, made = fit_bytes(family, max_bytes - reserve)
    if made.nbytes > max_bytes - reserve:
        raise unreachable(max_bytes, made.nbytes + reserve)
    score = frontier.score_at(made.nbytes)
    kept = {name: value for name, value in found.manifest.metrics[KEY].items() if name not in _NOT_KEPT}
    facts = {"factor": 2.0**strength} | ({} if score is None else {"expected_score": score})
    return with_search_metrics(made, kept | {"retargeted": rounded(facts)}, max_bytes)


def _guides_of(found: Archive) -> dict[str, GridGuide]:
    """The row exponents in a file; error feedback is not in it."""
    lowest = {entry.name: entry.payload.get("exponent") for entry in found.manifest.entries}
    return {
        name: GridGuide(torch.from_numpy(exponents.astype(np.int32)) + int(lowest[name] or 0))
        for name, exponents in found.streams_named("row_exponents").items()
    }


def _weights_of(source: Source, found: Archive) -> Weights:
    """The weights that a file was made from, with the classes, assets and hyper-parameters in the file.

    Raises:
        SearchError: other weights.
    """
    manifest = found.manifest
    exclude = [name for name in manifest.excluded if not name.endswith("_extra_state")]
    if isinstance(source, (str, PathLike)):
        weights = read_weights(source, exclude=exclude)
    elif isinstance(source, nn.Module):
        weights = Weights.from_module(source, exclude=exclude)
    else:
        weights = Weights.of(source)
    fingerprint = weights.fingerprint_like(manifest.fingerprint)
    if fingerprint != manifest.fingerprint:
        raise SearchError(
            f"these are not the weights that the file was made from (fingerprints {fingerprint[:19]}… and "
            f"{manifest.fingerprint[:19]}…): give the checkpoint it was made beside"
        )
    classes = {entry.name: entry.class_name for entry in manifest.entries}
    known = with_reasons_of(weights, manifest)
    return replace(
        known,
        weights=tuple(replace(weight, class_name=classes[weight.name]) for weight in known),
        excluded=manifest.excluded,
        class_path=manifest.class_path,
        **vars(found.record()),
    )
