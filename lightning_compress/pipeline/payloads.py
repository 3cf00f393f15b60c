"""Weights and a plan → payloads, and their coded bytes, one tensor at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from lightning_compress.archive import Entry, encode_tensor
from lightning_compress.pipeline.fitting import Fitted, fit, is_lossy, pruned_mask
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import (
    FactoredPayload,
    FittedQuantizer,
    Payload,
    RawPayload,
    Storage,
    sparse_forms,
    store_pruned,
)
from lightning_compress.weights import Weight, Weights

CodedTensor = tuple[Entry, bytes]
_Treatment = tuple[Rule, frozenset[str]]  # and all the tensors that share the rule, and so what is fitted to them
_KEPT = 4  # codings of each tensor


def payloads_of(weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> Iterator[Payload]:
    """The payload of each tensor, in order, made when it is asked for.

    Raises:
        PlanError: the plan does not fit the model.
    """
    rules = plan.assign(weights)
    fitted = fit(weights, rules)
    for weight, rule in zip(weights, rules, strict=True):
        yield _payload(weight, rule, fitted, guidance.get(weight.name))


class CodedTensors:
    """Tensors of one model as they were coded, the last few codings of each.

    Plans that follow each other in a search differ in a part of the model; what they treat alike is coded once.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[_Treatment | None, CodedTensor]] = defaultdict(dict)

    def coded(self, weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> Iterator[CodedTensor]:
        """Each tensor in order, coded in the fewest bytes: anew only where it was not yet treated so.

        Args:
            weights: the same at every call.
            plan: of any kind.
            guidance: the same at every call.

        Raises:
            PlanError: the plan does not fit the model.
        """
        rules = plan.assign(weights)
        treatments = _treatments(weights, rules)
        is_new = [treatments[weight.name] not in self._known[weight.name] for weight in weights]
        fitted = fit(weights, [rule if new else None for rule, new in zip(rules, is_new, strict=True)])
        for weight, rule, new in zip(weights, rules, is_new, strict=True):
            of_tensor, treatment = self._known[weight.name], treatments[weight.name]
            if new:
                of_tensor[treatment] = smallest_coding(
                    weight, _payload(weight, rule, fitted, guidance.get(weight.name))
                )
            of_tensor[treatment] = of_tensor.pop(treatment)  # the last used is the last to go
            yield of_tensor[treatment]
            while len(of_tensor) > _KEPT:
                del of_tensor[next(iter(of_tensor))]


def _treatments(weights: Weights, rules: Sequence[Rule | None]) -> dict[str, _Treatment | None]:
    members: dict[Rule | None, list[str]] = defaultdict(list)
    for weight, rule in zip(weights, rules, strict=True):
        members[rule].append(weight.name)
    shared = {rule: frozenset(names) for rule, names in members.items()}
    return {
        weight.name: None if rule is None else (rule, shared[rule]) for weight, rule in zip(weights, rules, strict=True)
    }


def smallest_coding(weight: Weight, payload: Payload) -> CodedTensor:
    """A payload coded as it is, or with its zeros apart."""
    forms = (encode_tensor(weight.name, weight.class_name, form) for form in (payload, *sparse_forms(payload)))
    return min(forms, key=lambda form: form[0].coded_bytes + len(json.dumps(form[0].payload)))


def _payload(weight: Weight, rule: Rule | None, fitted: Fitted, guide: object) -> Payload:
    """The payload of one tensor."""
    tensor = weight.tensor.detach().cpu()
    if rule is None or not is_lossy(weight):
        return RawPayload(tensor)
    quantizer = fitted.quantizer_of(weight, rule)
    if weight.name in fitted.factors:
        left, right = (_store(f, rule.storage, quantizer, None, None) for f in fitted.factors[weight.name])
        return FactoredPayload(left, right, fitted.factors[weight.name][0].shape[1], tuple(tensor.shape))
    cut = fitted.cuts.get(weight.name)
    return _store(tensor, rule.storage, quantizer, None if cut is None else pruned_mask(tensor, cut), guide)


def _store(
    tensor: Tensor, storage: Storage, quantizer: FittedQuantizer | None, pruned: Tensor | None, guide: object
) -> Payload:
    if quantizer is not None:
        return quantizer.store(tensor, storage, pruned=pruned, guide=guide)
    return storage.store(tensor) if pruned is None else store_pruned(tensor, storage, pruned)
