"""Scores of a module in which a few tensors are replaced: only these are copied into the module, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import MismatchError
from lightning_compress.runtime.snapshot import ModuleSnapshot, preserved_module
from lightning_compress.search.evaluate.evaluation import Evaluate, call_evaluate, without_aliases
from lightning_compress.search.evaluate.score import Score
from lightning_compress.weights import Weights, as_bytes, content_digest, counterparts, load_into, match_state


@dataclass(eq=False)
class Swapper:
    """Scores replaced tensors while all others are exact; created by :func:`swapping`.

    Attributes:
        weights: the exact weights, in memory that the module does not share.
        count: number of calls of ``evaluate``.
    """

    module: nn.Module
    evaluate: Evaluate
    weights: Weights
    count: int = 0
    _snapshot: ModuleSnapshot = field(kw_only=True)
    _exact: dict[str, Tensor] = field(kw_only=True)
    _targets: dict[str, Tensor] | None = field(kw_only=True)
    _cache: dict[str, Score] = field(default_factory=dict)

    def score(self, tensors: Mapping[str, Tensor], what: str) -> Score:
        """The score of the exact weights with some of them replaced; equal replacements are evaluated once.

        Args:
            tensors: name of a stored tensor → its restored value. Tensors tied to it change with it. Names of tied
                tensors are allowed beside the tensors they are views of, as :meth:`Archive.restore` returns them.
            what: the change, for messages.

        Raises:
            SearchError: the evaluation raises, or returns NaN or something that is not a score.
            MismatchError: a name that is not among the weights, or a tensor of another shape.
        """
        self._check(tensors, what)
        changed = {name: t for name, t in tensors.items() if not _is_same(t, self._exact[name])}
        digest = content_digest(changed)
        if digest not in self._cache:
            with self._loaded(changed, what):
                self.count += 1
                self._cache[digest] = call_evaluate(self.evaluate, self.module, what)
        return self._cache[digest]

    @contextmanager
    def exact_weights(self) -> Iterator[None]:
        """A context in which the exact weights are loaded and the module is in ``eval()`` mode."""
        with self._loaded({}, "the exact weights"):
            yield

    @contextmanager
    def _loaded(self, changed: Mapping[str, Tensor], what: str) -> Iterator[None]:
        restore = self._snapshot.restore if self._targets is None else self._snapshot.restore_modified
        restore()
        try:
            with torch.no_grad():
                tensors = self._with_ties(changed)
                if self._targets is None:
                    load_into(self.module, self._exact | tensors, excluded=self.weights.excluded, source=what)
                else:
                    for name, tensor in tensors.items():
                        self._targets[name].copy_(tensor)
                self.module.eval()
                yield
        finally:
            restore()

    def _with_ties(self, changed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The changed tensors, and those tied to them that have memory of their own in the module."""
        ties = {n: tie for n, tie in self.weights.ties.items() if tie.of in changed and self._has_own_memory(n)}
        views = {name: tie.view(changed[tie.of].contiguous()) for name, tie in ties.items()}
        return {name: t for name, t in changed.items() if name not in self.weights.ties} | views

    def _has_own_memory(self, name: str) -> bool:
        base = self.weights.ties[name].of
        return self._targets is None or _storage(self._targets[name]) != _storage(self._targets[base])

    def _check(self, tensors: Mapping[str, Tensor], what: str) -> None:
        for name, tensor in tensors.items():
            tie = self.weights.ties.get(name)
            if name not in self._exact:
                raise MismatchError(f"{what} gives {name!r}, which is no stored tensor: give names as in the weights")
            if tie is not None and tie.of not in tensors:
                raise MismatchError(f"{what} gives {name!r}, which is tied to {tie.of!r}: give that one")
            if tensor.shape != (shape := self._exact[name].shape):
                raise MismatchError(f"{what} gives {name!r} the shape {list(tensor.shape)}, expected {list(shape)}")


@contextmanager
def swapping(module: nn.Module, evaluate: Evaluate, weights: Weights) -> Iterator[Swapper]:
    """A context that provides a swapper, and restores the module bit for bit when it ends, also after an error.

    One copy of the exact values is held in main memory. Each evaluation starts with the same random state, modes,
    buffers and metric states, in ``eval()`` mode and without gradients, and may change all of these. Replaced tensors
    are copied into the module's own memory. If its state dict does not share that memory, or hooks take part in
    loading it, every evaluation loads all tensors.

    Args:
        module: the caller's module.
        evaluate: module → a number or :class:`Score`, higher is better.
        weights: of the module's present state.

    Raises:
        MismatchError: the weights are not those of the module.
    """
    # Lightning saves checkpoints in inference mode, and a tensor made there can never have gradients.
    with torch.inference_mode(False), preserved_module(module) as snapshot:
        exact = without_aliases(weights, snapshot.copies)
        tensors = exact.state_dict()
        targets = _targets(module, tensors, exact)
        yield Swapper(module, evaluate, exact, _snapshot=snapshot, _exact=tensors, _targets=targets)


def _targets(module: nn.Module, tensors: Mapping[str, Tensor], weights: Weights) -> dict[str, Tensor] | None:
    """Name → the module's tensor to copy into; None where copying alone would not load the weights."""
    live: dict[str, Any] = module.state_dict()
    matched = match_state(live, tensors, excluded=weights.excluded, source="the exact weights")
    names = counterparts(live, tensors)
    own = {_storage(tensor) for tensor in (*module.parameters(), *module.buffers())}
    has_hooks = any(part._load_state_dict_pre_hooks or part._load_state_dict_post_hooks for part in module.modules())
    is_masked = matched.keys() != set(names.values())
    if has_hooks or is_masked or any(_storage(live[name]) not in own for name in matched):
        return None
    if not all(_is_same(live[name], tensor) for name, tensor in matched.items()):
        return None
    return {name: live[counterpart] for name, counterpart in names.items()}


def _storage(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _is_same(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(as_bytes(first), as_bytes(second))
