"""Weights and a plan → payloads, and their coded bytes, one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lightning_compress.archive import Entry, encode_tensor
from lightning_compress.compression.exactness import OUT_OF_BOUND, OUT_OF_RANGE
from lightning_compress.compression.fitting import Fitted, fit, is_lossy, pruned_mask
from lightning_compress.compression.source_check import SourceCheck
from lightning_compress.errors import PlanError
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import (
    FLOATS,
    NESTABLE_PAYLOADS,
    PAYLOADS,
    FactoredPayload,
    FittedQuantizer,
    Payload,
    RawPayload,
    Storage,
    sparse_forms,
    store_pruned,
)
from lightning_compress.weights import Weight, Weights, all_finite, in_tensor_order, on_cpu

CodedTensor = tuple[Entry, bytes]


@dataclass(frozen=True, eq=False)
class TensorWork:
    """How one tensor is coded, without its values: another process that has them can do it.

    Attributes:
        weight: the tensor, empty.
        rule: of the plan; None where nothing is done to the tensor.
        fitted: the fitted methods of the rule, as far as this tensor needs them.
        guide: what calibration measured for the tensor.
    """

    weight: Weight
    rule: Rule | None
    fitted: Fitted
    guide: object = None

    def coded(self, values: Tensor) -> CodedTensor:
        """The tensor with these values, coded in the fewest bytes.

        Raises:
            PlanError: a method makes something that files cannot hold.
        """
        weight = replace(self.weight, tensor=values)
        return smallest_coding(weight, *_payload(weight, self.rule, self.fitted, self.guide))


def work_of(weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> list[TensorWork]:
    """The work for each tensor, in order.

    Raises:
        PlanError: the plan does not fit the model.
    """
    rules = plan.assign(weights)
    fitted = fit(weights, rules)
    nothing = Fitted({}, {}, {})
    nothing_stored = torch.empty(0, dtype=torch.uint8)  # viewed, since torch warns of new tensors of some dtypes
    return [
        TensorWork(
            replace(weight, tensor=nothing_stored.view(weight.tensor.dtype)),
            rule,
            nothing if rule is None else fitted.of_tensor(weight, rule),
            guidance.get(weight.name),
        )
        for weight, rule in zip(weights, rules, strict=True)
    ]


def payloads_of(weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> Iterator[Payload]:
    """The payload of each tensor, in order, one at a time.

    Raises:
        PlanError: the plan does not fit the model.
    """
    rules = plan.assign(weights)
    fitted = fit(weights, rules)
    for weight, rule in zip(weights, rules, strict=True):
        yield _payload(weight, rule, fitted, guidance.get(weight.name))[0]


def coded_tensors(weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> Iterator[CodedTensor]:
    """Each tensor in order, coded in the fewest bytes.

    Raises:
        PlanError: the plan does not fit the model.
    """
    works = work_of(weights, plan, guidance)
    tensors = [weight.tensor for weight in weights]
    return in_tensor_order(lambda number: works[number].coded(tensors[number]), tensors)


def smallest_coding(weight: Weight, payload: Payload, check: SourceCheck | None = None) -> CodedTensor:
    """A payload coded as it is, or with its zeros apart.

    A finite weight never comes back as infinite or NaN, nor further from its source than its methods state: where the
    payload would restore one so, the tensor is kept exactly, and its entry says why.

    Args:
        weight: the tensor.
        payload: what was made of it.
        check: the bounds of the methods; None where no bound is known.
    """
    restored = payload.restore()
    if (restored.dtype, restored.shape) != (weight.tensor.dtype, weight.tensor.shape):
        raise PlanError(
            f"tensor {weight.name!r}: its method restores {tuple(restored.shape)} {restored.dtype}, expected "
            f"{tuple(weight.tensor.shape)} {weight.tensor.dtype}; correct the method"
        )
    reason = OUT_OF_RANGE if _loses_finite(weight.tensor, restored) else None
    if reason is None and check is not None and not check.holds(payload, restored):
        reason = OUT_OF_BOUND
    if reason:
        restored = on_cpu(weight.tensor)
        payload = RawPayload(restored)
    entry, data = encode_tensor(weight.name, weight.class_name, payload, restored, sparse_forms(payload))
    return replace(entry, reason=reason), data


def _loses_finite(tensor: Tensor, restored: Tensor) -> bool:
    if restored.dtype not in FLOATS or all_finite(restored):
        return False
    return bool((torch.isfinite(tensor.detach().cpu()) & ~torch.isfinite(restored)).any())


def _payload(weight: Weight, rule: Rule | None, fitted: Fitted, guide: object) -> tuple[Payload, SourceCheck | None]:
    """The payload of one tensor, and the check of what it restores; None where no bound is known."""
    tensor = on_cpu(weight.tensor)
    if rule is None or not is_lossy(weight):
        return RawPayload(tensor), None
    quantizer = fitted.quantizer_of(weight, rule)
    if weight.name in fitted.factors:
        left, right = (_store(f, rule.storage, quantizer, None, None) for f in fitted.factors[weight.name])
        _check_known(weight, rule, left, NESTABLE_PAYLOADS)
        _check_known(weight, rule, right, NESTABLE_PAYLOADS)
        return FactoredPayload(left, right, fitted.factors[weight.name][0].shape[1], tuple(tensor.shape)), None
    cut = fitted.cuts.get(weight.name)
    pruned = None if cut is None else pruned_mask(tensor, cut)
    payload = _store(tensor, rule.storage, quantizer, pruned, guide)
    _check_known(weight, rule, payload, PAYLOADS)
    return payload, SourceCheck(tensor, rule.storage, quantizer, pruned, guide)


def _check_known(weight: Weight, rule: Rule, payload: Payload, known: Mapping[str, type[Payload]]) -> None:
    """Raise a PlanError where a method, which may be of another package, makes a payload that no reader knows there."""
    kind = type(payload)
    if known.get(getattr(kind, "kind", "")) is not kind:
        raise PlanError(
            f"tensor {weight.name!r}: {', '.join(method.id for method in rule.methods)} makes a {kind.__name__}, which "
            f"files cannot hold there; expected one of {', '.join(each.__name__ for each in known.values())}"
        )


def _store(
    tensor: Tensor, storage: Storage, quantizer: FittedQuantizer | None, pruned: Tensor | None, guide: object
) -> Payload:
    if quantizer is not None:
        return quantizer.store(tensor, storage, pruned=pruned, guide=guide)
    return storage.store(tensor) if pruned is None else store_pruned(tensor, storage, pruned)
