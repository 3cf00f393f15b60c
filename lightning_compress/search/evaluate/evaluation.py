"""Scores of candidate weights, loaded in place into the caller's own module."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.runtime.snapshot import ModuleSnapshot, TensorCopies, preserved_module
from lightning_compress.search.evaluate.score import Score
from lightning_compress.weights import Weight, Weights, as_bytes, load_into

Evaluate = Callable[[Any], Any]
Watch = Callable[[], AbstractContextManager[None]]

_log = logging.getLogger(__name__)
_EXACT = "the exact weights"  # for messages
_LAST_DIGITS = 1e-6  # watched, torch may sum a product in another order in inference mode, or leave it uncompiled


@dataclass(eq=False)
class Evaluator:
    """Scores candidates, each from the same start; made by :func:`evaluating`.

    Attributes:
        weights: the exact weights, in memory of their own.
        count: how often ``evaluate`` was called.
    """

    module: nn.Module
    evaluate: Evaluate
    kept: ModuleSnapshot
    weights: Weights
    count: int = 0
    _known: dict[str, Score] = field(default_factory=dict)

    def baseline(self, watch: Watch | None = None) -> tuple[Score, float]:
        """The score of the exact weights, and by how much it differs when it is taken again.

        Args:
            watch: opens a block around the first evaluation. Where that fails, or gives another score, it is taken
                again without; the score returned is of an evaluation that nobody watched.

        Raises:
            SearchError: the evaluation fails, or gives no finite number.
        """
        exact = exact_tensors(self.weights)
        watched = None if watch is None else self._watched(exact, watch)
        first = watched or self._measure(exact, _EXACT)
        second = self._measure(exact, _EXACT)
        if watched is not None:
            close = math.isclose(watched.value, second.value, rel_tol=_LAST_DIGITS)
            first, second = second, second if close else self._measure(exact, _EXACT)
        if not math.isfinite(first.value) or not math.isfinite(second.value):
            raise SearchError(
                f"evaluate gave {first.value} and {second.value} for the exact weights, expected finite numbers: "
                "check it with evaluate(module) on its own"
            )
        self._known[content_of(exact)] = first
        return first, abs(first.value - second.value)

    def score(self, tensors: Mapping[str, Tensor], what: str) -> Score:
        """The score of a candidate; weights that were scored before are not scored again.

        Args:
            tensors: as :meth:`Archive.restore` gives them.
            what: the candidate, for messages.

        Raises:
            SearchError: the evaluation raises, or gives NaN. Minus infinity is a score: a candidate that lost
                everything.
            MismatchError: the tensors do not fit the module.
        """
        content = content_of(tensors)
        if content not in self._known:
            self._known[content] = self._measure(tensors, what)
        return self._known[content]

    def _watched(self, exact: Mapping[str, Tensor], watch: Watch) -> Score | None:
        try:
            return self._measure(exact, _EXACT, watch)
        except Exception as error:  # whatever it is, there is an evaluation that nobody watches
            _log.debug("evaluate cannot be watched: %s: %s", type(error).__name__, error)
            return None

    @contextmanager
    def exact(self) -> Iterator[None]:
        """The exact weights loaded and the module in ``eval()`` mode, for the length of a block."""
        self.kept.restore()
        try:
            with torch.no_grad():
                load_into(self.module, exact_tensors(self.weights), excluded=self.weights.excluded, source=_EXACT)
            self.module.eval()
            yield
        finally:
            self.kept.restore()

    def _measure(self, tensors: Mapping[str, Tensor], what: str, watch: Watch = nullcontext) -> Score:
        self.kept.restore()
        try:
            with torch.no_grad():
                load_into(self.module, tensors, excluded=self.weights.excluded, source=what)
                self.module.eval()
                with watch():
                    return evaluated(self.evaluate, self.module, what)
        finally:
            self.kept.restore()
            self.count += 1


@contextmanager
def evaluating(module: nn.Module, evaluate: Evaluate, weights: Weights) -> Iterator[Evaluator]:
    """An evaluator, and the module as it was when the block ends.

    One copy of the exact values is held in main memory, no second model. ``evaluate`` is called without gradients, in
    ``eval()`` mode, each time from the same random state, and may leave the module in any mode.

    Args:
        module: the caller's module.
        evaluate: module → a number or :class:`Score`, higher is better.
        weights: the exact weights, which may lie in the module's own memory.
    """
    # Lightning saves checkpoints in inference mode, whose tensors know no gradients ever after.
    with torch.inference_mode(False), preserved_module(module) as kept:
        yield Evaluator(module, evaluate, kept, apart(weights, kept.copies))


def apart(weights: Weights, copies: TensorCopies) -> Weights:
    """The weights in memory that candidates are not loaded into."""

    def copied(weight: Weight) -> Weight:
        return replace(weight, tensor=copies.of(weight.tensor)) if copies.know(weight.tensor) else weight

    return replace(weights, weights=tuple(map(copied, weights)))


def exact_tensors(weights: Weights) -> dict[str, Tensor]:
    """Every tensor by name, tied ones too, as :meth:`Archive.restore` gives those of a file."""
    tensors = {weight.name: weight.tensor for weight in weights}
    flat = {tie.of: tensors[tie.of].contiguous() for tie in weights.ties.values()}
    return tensors | {name: tie.view(flat[tie.of]) for name, tie in weights.ties.items()}


def evaluated(evaluate: Evaluate, module: nn.Module, what: str) -> Score:
    """The score of a module as it stands.

    Args:
        evaluate: module → a number or :class:`Score`, higher is better.
        module: with the weights to be scored loaded.
        what: those weights, for messages.

    Raises:
        SearchError: the evaluation raises, or gives NaN or something that is no score.
    """
    try:
        value = evaluate(module)
    except Exception as error:
        raise SearchError(
            f"evaluate failed on {what} with {type(error).__name__}: {error}. The module is as it was."
        ) from error
    score = Score.taken(value)
    if math.isnan(score.value):
        raise SearchError(
            f"evaluate gave NaN for {what}, expected a number. Where a broken model has no score, return "
            "float('-inf') for it."
        )
    return score


def content_of(tensors: Mapping[str, Tensor]) -> str:
    """Equal for equal names, dtypes, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(as_bytes(tensor).numpy().data)
    return digest.hexdigest()


def check_arguments(module: Any, evaluate: Any, amounts: Sequence[tuple[str, Any]]) -> None:
    """Refuse what a search cannot be made of.

    Raises:
        SearchError: a module that is none, an ``evaluate`` that cannot be called, an amount that is negative or NaN.
    """
    if not isinstance(module, nn.Module):
        raise SearchError(
            f"the module is a {type(module).__name__}, expected a torch.nn.Module with its weights loaded"
        )
    if not callable(evaluate):
        raise SearchError(f"evaluate is {evaluate!r}, expected a function: module → score, higher is better")
    for name, value in amounts:
        if value is not None and not (isinstance(value, (int, float)) and value >= 0):
            raise SearchError(f"{name} is {value!r}, expected a number from 0")
