"""A cache of coded tensors, for files of one model that differ in a part of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence

from torch import Tensor

from lightning_compress.compression.fitting import fit
from lightning_compress.compression.payloads import CodedTensor, TensorWork
from lightning_compress.plan import Plan, Rule
from lightning_compress.weights import Weights, in_tensor_order

_CacheKey = tuple[Rule, frozenset[str]]  # the rule, and all tensors under it: its methods are fitted to them together
_CACHED = 4  # codings of each tensor


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
            return TensorWork(weight, rules[number], fitted, guidance.get(weight.name)).coded(weight.tensor)

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

        for name, made in zip(names, in_tensor_order(code_new, tensors), strict=True):
            of_tensor, key = self._cache[name], keys[name]
            if made is not None:
                of_tensor[key] = made
            of_tensor[key] = of_tensor.pop(key)  # moved to the end: the least recently used is dropped first
            yield of_tensor[key]
            while len(of_tensor) > _CACHED:
                del of_tensor[next(iter(of_tensor))]


def _cache_keys(names: Sequence[str], rules: Sequence[Rule | None]) -> dict[str, _CacheKey | None]:
    members: dict[Rule | None, list[str]] = defaultdict(list)
    for name, rule in zip(names, rules, strict=True):
        members[rule].append(name)
    shared = {rule: frozenset(under) for rule, under in members.items()}
    return {name: None if rule is None else (rule, shared[rule]) for name, rule in zip(names, rules, strict=True)}
