"""Replacing the weights of a module by factors of low rank, with which it trains on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from lightning_compress.errors import TrainingError
from lightning_compress.search import CalibrationData
from lightning_compress.training.factorization.modules import (
    KINDS,
    Factored,
    factored,
    is_factorable,
    rank_of,
    set_bias,
    set_factors,
    share_factors,
)
from lightning_compress.training.factorization.ranks import Candidate, ranks_by_bytes, ranks_by_energy
from lightning_compress.training.factorization.separable import (
    SeparableConv2d,
    is_separable,
    rank_of_size,
    set_separable,
)
from lightning_compress.training.shared import fisher_of
from lightning_compress.weights import Weights, matches_any

_log = logging.getLogger(__name__)


def factorize(
    module: nn.Module,
    *,
    energy: float | None = None,
    target_bytes: int | None = None,
    target_ratio: float | None = None,
    calibration: CalibrationData | None = None,
    modules: Sequence[str] = ("*",),
    convolutions: Literal["pair", "separable"] = "pair",
) -> nn.Module:
    """Replace linear maps, embeddings and convolutions by factors of their singular value decomposition, in place.

    Not while an optimizer holds the parameters. The smaller module trains on, and is exported and loaded like any other
    (:func:`factorize_to`). A matrix whose factors would have as many bytes as itself stays whole. Weights that modules
    share are factorized once and stay shared. With a target of bytes each matrix keeps the same share of its sum of
    squares. With ``calibration``, ranks are chosen such that the sum of the squared errors of all rows, times their
    Fisher information, is least for the bytes, and the decomposition is that of the rows so weighted; what has no
    gradient stays whole (Y.-C. Hsu et al. 2022, "Language model compression with weighted low-rank factorization",
    section 4). It loses far less.

    C. Eckart and G. Young 1936 (the best product of a rank); E. Denton et al. 2014, "Exploiting Linear Structure Within
    Convolutional Networks for Efficient Evaluation".

    Args:
        module: the module.
        energy: the share of its sum of squares that each matrix keeps at least, above 0 and below 1.
        target_bytes: bytes of all parameters of the module afterwards, at most.
        target_ratio: bytes of its parameters now over those afterwards.
        calibration: batches like those of the training, and their loss or outputs.
        modules: patterns of names of the modules that are replaced.
        convolutions: ``pair`` of two, or ``separable`` ones along each dimension, of as many bytes
            (:class:`SeparableConv2d`; needs tensorly).

    Returns:
        the module; if it is itself replaced, what replaces it.

    Raises:
        TrainingError: not exactly one of ``energy``, ``target_bytes`` and ``target_ratio`` is given, a value is out of
            range, no module can be replaced, the target cannot be reached, or weights are NaN. The module is as it was.
        SearchError: a batch of the calibration fails.
        MissingLibraryError: tensorly is not installed, for ``separable``.
    """
    if convolutions not in ("pair", "separable"):
        raise TrainingError(f"convolutions is {convolutions!r}, expected 'pair' or 'separable'")
    _check(energy, target_bytes, target_ratio)
    found = _factorable(module, modules)
    sensitivity = {} if calibration is None else _sensitivity(module, calibration, found)
    chosen = found if calibration is None else {name: found[name] for name in sensitivity}
    candidates = {name: _candidate(name, each, sensitivity.get(name)) for name, each in chosen.items()}
    total = sum(each.nbytes for each in module.parameters())
    if energy is not None:
        ranks = ranks_by_energy(candidates, energy)
    else:
        target = target_bytes if target_bytes is not None else int(total / (target_ratio or 1))
        ranks = ranks_by_bytes(candidates, target, total - sum(each.whole_bytes for each in candidates.values()))
    separable = convolutions == "separable"
    replaced = {
        name: _factored(found[name], candidates[name], rank, separable=separable)
        for name, rank in ranks.items()
        if rank is not None
    }
    result = module
    for name, new in replaced.items():
        result = _replace(result, found[name], new)
    after = sum(each.nbytes for each in result.parameters())
    _log.info("%s has %s bytes of parameters, of %s", type(module).__name__, f"{after:,}", f"{total:,}")
    return result


def factorize_to(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Give a new module the factors of one that was factorized, so that it can load those weights.

    For ``on_load_checkpoint`` of a module whose arguments say nothing of factors.

    Args:
        module: as it is constructed.
        state: weights, by the module's names. Their values are not read.

    Returns:
        as of :func:`factorize`.
    """
    result = module
    for name, each in list(module.named_modules()):
        prefix = f"{name}." if name else ""
        factor = state.get(f"{prefix}right", state.get(f"{prefix}first.weight"))
        if factor is not None and is_factorable(each):
            separable = f"{prefix}vertical.weight" in state
            result = _replace(result, each, factored(each, len(factor), is_separable=separable))
    return result


def ranks_of(module: nn.Module) -> dict[str, int]:
    """Name of each module with factors → their rank."""
    return {name: rank_of(each) for name, each in module.named_modules() if isinstance(each, KINDS)}


def _check(energy: float | None, target_bytes: int | None, target_ratio: float | None) -> None:
    given = {"energy": energy, "target_bytes": target_bytes, "target_ratio": target_ratio}
    known = {name: value for name, value in given.items() if value is not None}
    if len(known) != 1:
        raise TrainingError(f"{', '.join(known) or 'nothing'} is given, expected exactly one of {', '.join(given)}")
    for (name, value), least, below in (
        *((each, 0, 1) for each in known.items() if each[0] == "energy"),
        *((each, 1, float("inf")) for each in known.items() if each[0] != "energy"),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least < value < below:
            raise TrainingError(f"{name} is {value!r}, expected a number above {least} and below {below}")


def _factorable(module: nn.Module, patterns: Sequence[str]) -> dict[str, nn.Module]:
    """Name → module, one for each weight that may be replaced."""
    users: dict[int, list[nn.Module]] = {}
    for each in module.modules():
        for parameter in each._parameters.values():
            if parameter is not None:
                users.setdefault(id(parameter), []).append(each)
    found, seen = {}, set()
    for name, each in module.named_modules():
        if not is_factorable(each) or not matches_any(patterns, name):
            continue
        weight = each._parameters.get("weight")
        if weight is None or id(weight) in seen or not weight.is_floating_point():
            continue
        if len(weight) + weight[:1].numel() >= weight.numel():  # rank 1 has as many elements
            continue
        seen.add(id(weight))
        others = users[id(weight)]
        if len(others) == 1 or all(is_factorable(other) and not isinstance(other, nn.Conv2d) for other in others):
            found[name] = each
    if not found:
        names = [name for name, each in module.named_modules() if is_factorable(each)]
        raise TrainingError(
            f"no module of {type(module).__name__} matches {', '.join(patterns)} and can be factorized; those that can "
            f"are {', '.join(names[:8]) or 'none'}, and {len(ranks_of(module))} have factors already: correct the "
            "patterns"
        )
    return found


def _candidate(name: str, module: nn.Module, sensitivity: Tensor | None) -> Candidate:
    try:
        return Candidate.of(module.get_parameter("weight"), sensitivity)
    except TrainingError as error:
        raise TrainingError(f"module {name!r}: {error}") from error


def _factored(module: nn.Module, candidate: Candidate, rank: int, *, separable: bool) -> Factored:
    """What replaces a module, with factors of its weight."""
    weight = module.get_parameter("weight")
    if separable and is_separable(module):
        elements = rank * (candidate.rows + candidate.columns)
        new = factored(module, rank_of_size(weight, elements), is_separable=True)
        assert isinstance(new, SeparableConv2d)
        set_separable(new, weight, candidate.row_weights)
        return new
    new = factored(module, rank)
    assert not isinstance(new, SeparableConv2d)
    set_factors(new, *candidate.factors(rank))
    return new


def _sensitivity(module: nn.Module, calibration: CalibrationData, found: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Name of a module → Fisher information of the rows of its weight; modules without a gradient are left out."""
    statistics = fisher_of(Weights.from_module(module), module, calibration)
    totals = {name: each.row_totals for name, each in statistics.items()}
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    result = {}
    for name, each in found.items():
        known = [totals[other] for other in names[id(each.get_parameter("weight"))] if other in totals]
        if known:
            result[name] = known[0]
    if not result:
        raise TrainingError("the loss of the calibration depends on no weight that could be factorized: check it")
    return result


def _replace(module: nn.Module, old: nn.Module, new: Factored) -> nn.Module:
    """Put a module in the place of another everywhere, and its factors in place of the weight that others share."""
    weight = old.get_parameter("weight")
    sharing = [each for each in module.modules() if each._parameters.get("weight") is weight and each is not old]
    replaced: dict[int, Factored] = {id(old): new}
    for other in sharing:
        replaced[id(other)] = factored(other, rank_of(new))
        share_factors(replaced[id(other)], new)
    for each in (old, *sharing):
        bias = each._parameters.get("bias")
        if bias is not None:
            set_bias(replaced[id(each)], bias)
    if id(module) in replaced:
        return replaced[id(module)]
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and id(child) in replaced:
                setattr(parent, name, replaced[id(child)])
    return module
