"""Scores of a module in which a few tensors are changed: those alone are copied in, and back out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import MismatchError
from lightning_compress.runtime.snapshot import ModuleSnapshot, preserved_module
from lightning_compress.search.evaluate.evaluation import Evaluate, apart, content_of, evaluated, exact_tensors
from lightning_compress.search.evaluate.score import Score
from lightning_compress.weights import Weights, as_bytes, counterparts, load_into, match_state


@dataclass(eq=False)
class Swapper:
    """Scores changed tensors, all others being exact; made by :func:`swapping`.

    Attributes:
        weights: the exact weights, in memory of their own.
        count: how often ``evaluate`` was called.
    """

    module: nn.Module
    evaluate: Evaluate
    weights: Weights
    count: int = 0
    _kept: ModuleSnapshot = field(kw_only=True)
    _exact: dict[str, Tensor] = field(kw_only=True)
    _homes: dict[str, Tensor] | None = field(kw_only=True)
    _known: dict[str, Score] = field(default_factory=dict)

    def score(self, tensors: Mapping[str, Tensor], what: str) -> Score:
        """The score of the exact weights with some of them changed; what was scored before is not scored again.

        Args:
            tensors: name of a stored tensor → its restored value. What is tied to it changes with it; names of tied
                tensors may stand beside those of the tensors they are views of, as :meth:`Archive.restore` gives them.
            what: the change, for messages.

        Raises:
            SearchError: the evaluation raises, or gives NaN or something that is no score.
            MismatchError: a name that is not among the weights, or a tensor of another shape.
        """
        self._check(tensors, what)
        changed = {name: t for name, t in tensors.items() if not _is_same(t, self._exact[name])}
        content = content_of(changed)
        if content not in self._known:
            with self._loaded(changed, what):
                self.count += 1
                self._known[content] = evaluated(self.evaluate, self.module, what)
        return self._known[content]

    @contextmanager
    def exact(self) -> Iterator[None]:
        """The exact weights loaded and the module in ``eval()`` mode, for the length of a block."""
        with self._loaded({}, "the exact weights"):
            yield

    @contextmanager
    def _loaded(self, changed: Mapping[str, Tensor], what: str) -> Iterator[None]:
        restore = self._kept.restore if self._homes is None else self._kept.restore_written
        restore()
        try:
            with torch.no_grad():
                tensors = self._with_ties(changed)
                if self._homes is None:
                    load_into(self.module, self._exact | tensors, excluded=self.weights.excluded, source=what)
                else:
                    for name, tensor in tensors.items():
                        self._homes[name].copy_(tensor)
                self.module.eval()
                yield
        finally:
            restore()

    def _with_ties(self, changed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The changed tensors, and those tied to them in whatever memory of their own they have."""
        ties = {name: tie for name, tie in self.weights.ties.items() if tie.of in changed and self._is_apart(name)}
        views = {name: tie.view(changed[tie.of].contiguous()) for name, tie in ties.items()}
        return {name: t for name, t in changed.items() if name not in self.weights.ties} | views

    def _is_apart(self, name: str) -> bool:
        base = self.weights.ties[name].of
        return self._homes is None or _storage(self._homes[name]) != _storage(self._homes[base])

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
    """A swapper, and the module bit for bit as it was when the block ends, also after an error.

    One copy of the exact values is held in main memory. Each evaluation begins with the same random state, modes,
    buffers and metric states, in ``eval()`` mode and without gradients, and may leave them as it likes. Changed tensors
    are copied into the module's own memory; where its state dict does not share that memory, or hooks take part in
    loading it, everything is loaded anew each time.

    Args:
        module: the caller's module.
        evaluate: module → a number or :class:`Score`, higher is better.
        weights: of the module's present state.

    Raises:
        MismatchError: the weights are not those of the module.
    """
    # Lightning saves checkpoints in inference mode, whose tensors know no gradients ever after.
    with torch.inference_mode(False), preserved_module(module) as kept:
        exact = apart(weights, kept.copies)
        tensors = exact_tensors(exact)
        homes = _homes(module, tensors, exact)
        yield Swapper(module, evaluate, exact, _kept=kept, _exact=tensors, _homes=homes)


def _homes(module: nn.Module, tensors: Mapping[str, Tensor], weights: Weights) -> dict[str, Tensor] | None:
    """Name → the module's memory that holds its tensor; None where loading is more than copying into that."""
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
    return {name: live[partner] for name, partner in names.items()}


def _storage(tensor: Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _is_same(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(as_bytes(first), as_bytes(second))
