"""Weights and a plan → payloads, and their coded bytes, one tensor at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
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
from lightning_compress.runtime import in_order, worker_count, workers_in_little_memory
from lightning_compress.weights import DeferredTensor, Weight, Weights, all_finite

CodedTensor = tuple[Entry, bytes]
_CacheKey = tuple[Rule, frozenset[str]]  # the rule, and all tensors under it: its methods are fitted to them together
_CACHED = 4  # codings of each tensor
_WEIGHTS_PER_WORKER = 1 << 18


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
    pairs = zip(work_of(weights, plan, guidance), weights, strict=True)
    return in_order(lambda pair: pair[0].coded(pair[1].tensor), pairs, _workers([weight.tensor for weight in weights]))


class CodedTensors:
    """A cache of the coded tensors of one model: for each tensor the codings that were used last.

    Successive plans of a search differ in a part of the model; the tensors that they treat alike are coded once.
    """

    def __init__(self) -> None:
        self._cache: dict[str, dict[_CacheKey | None, CodedTensor]] = defaultdict(dict)

    def coded(self, weights: Weights, plan: Plan, guidance: Mapping[str, object]) -> Iterator[CodedTensor]:
        """Each tensor in order, coded in the fewest bytes; from the cache where it was treated alike before.

        Args:
            weights: the same at every call.
            plan: of any kind.
            guidance: the same at every call.

        Raises:
            PlanError: the plan does not fit the model.
        """
        rules = plan.assign(weights)
        keys = _cache_keys([weight.name for weight in weights], rules)
        is_new = [keys[weight.name] not in self._cache[weight.name] for weight in weights]
        fitted = fit(weights, [rule if new else None for rule, new in zip(rules, is_new, strict=True)])

        def code(number: int) -> CodedTensor:
            weight = weights.weights[number]
            return smallest_coding(weight, *_payload(weight, rules[number], fitted, guidance.get(weight.name)))

        return self._looked_up(keys, code, [weight.tensor for weight in weights])

    def of_works(
        self, works: Sequence[TensorWork], tensors: Mapping[str, Tensor], names: Container[str]
    ) -> Iterator[CodedTensor]:
        """The named tensors in order, coded as their works say; from the cache where they were treated alike before.

        Args:
            works: those of all tensors of the model.
            tensors: name → values, the same at every call.
            names: of the tensors that are coded.

        Raises:
            PlanError: a method makes something that files cannot hold.
        """
        keys = _cache_keys([work.weight.name for work in works], [work.rule for work in works])
        wanted = [work for work in works if work.weight.name in names]
        values = [tensors[work.weight.name] for work in wanted]
        return self._looked_up(
            {work.weight.name: keys[work.weight.name] for work in wanted},
            lambda number: wanted[number].coded(values[number]),
            values,
        )

    def _looked_up(
        self, keys: Mapping[str, _CacheKey | None], code: Callable[[int], CodedTensor], tensors: Sequence[Tensor]
    ) -> Iterator[CodedTensor]:
        """A coded tensor for each key, in order; those that are not in the cache are coded."""
        names = list(keys)

        def code_new(number: int) -> CodedTensor | None:
            name = names[number]
            return None if keys[name] in self._cache[name] else code(number)

        for name, made in zip(names, in_order(code_new, range(len(names)), _workers(tensors)), strict=True):
            of_tensor, key = self._cache[name], keys[name]
            if made is not None:
                of_tensor[key] = made
            of_tensor[key] = of_tensor.pop(key)  # moved to the end: the least recently used is dropped first
            yield of_tensor[key]
            while len(of_tensor) > _CACHED:
                del of_tensor[next(iter(of_tensor))]


def _workers(tensors: Sequence[Tensor]) -> int:
    """How many threads code tensors: few for a small model, which takes no longer than starting them pays for."""
    workers = min(worker_count(), sum(tensor.numel() for tensor in tensors) // _WEIGHTS_PER_WORKER)
    if any(isinstance(tensor, DeferredTensor) for tensor in tensors):  # the model may exceed the memory
        workers = min(workers, workers_in_little_memory(tensor.nbytes for tensor in tensors))
    return max(1, workers)


def _cache_keys(names: Sequence[str], rules: Sequence[Rule | None]) -> dict[str, _CacheKey | None]:
    members: dict[Rule | None, list[str]] = defaultdict(list)
    for name, rule in zip(names, rules, strict=True):
        members[rule].append(name)
    shared = {rule: frozenset(under) for rule, under in members.items()}
    return {name: None if rule is None else (rule, shared[rule]) for name, rule in zip(names, rules, strict=True)}


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
        restored = weight.tensor.detach().cpu()
        payload = RawPayload(restored)
    entry, data = encode_tensor(weight.name, weight.class_name, payload, restored, sparse_forms(payload))
    return replace(entry, reason=reason), data


def _loses_finite(tensor: Tensor, restored: Tensor) -> bool:
    if restored.dtype not in FLOATS or all_finite(restored):
        return False
    return bool((torch.isfinite(tensor.detach().cpu()) & ~torch.isfinite(restored)).any())


def _payload(weight: Weight, rule: Rule | None, fitted: Fitted, guide: object) -> tuple[Payload, SourceCheck | None]:
    """The payload of one tensor, and the check of what it restores; None where no bound is known."""
    tensor = weight.tensor.detach().cpu()
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
