"""Scores of candidate weights, which are loaded in place into the caller's own module."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_compress.errors import SearchError
from lightning_compress.runtime.snapshot import ModuleSnapshot, TensorCopies, preserved_module
from lightning_compress.search.evaluate.items import check_same_items
from lightning_compress.search.evaluate.score import Score
from lightning_compress.weights import Weight, Weights, content_digest, load_into

Evaluate = Callable[[Any], Any]
Observe = Callable[[], AbstractContextManager[None]]

_log = logging.getLogger(__name__)
_EXACT = "the exact weights"  # for messages
_ROUNDOFF = 1e-6  # under an observer, torch may sum a product in another order or skip compiled code


class SearchStoppedError(SearchError):
    """Raised by an evaluation to end a search, which then returns the best file found so far."""


@dataclass(eq=False)
class Evaluator:
    """Scores candidates, each from the same state of the module; created by :func:`evaluating`.

    Attributes:
        weights: the exact weights, in memory that the module does not share.
        count: number of calls of ``evaluate``.
    """

    module: nn.Module
    evaluate: Evaluate
    snapshot: ModuleSnapshot
    weights: Weights
    count: int = 0
    _cache: dict[str, Score] = field(default_factory=dict)

    def baseline(self, observe: Observe | None = None) -> tuple[Score, float]:
        """The score of the exact weights, and how much it differs between two evaluations.

        Args:
            observe: opens a context around the first evaluation. If that evaluation fails or gives another score, a
                further one replaces it; the returned score always comes from an evaluation without an observer.

        Raises:
            SearchError: the evaluation fails, or gives no finite number.
            ItemsChangedError: the two evaluations score other items, or the same ones in another order.
        """
        exact = self.weights.state_dict()
        observed = None if observe is None else self._observed(exact, observe)
        first = observed or self._measure(exact, _EXACT)
        second = self._measure(exact, _EXACT)
        check_same_items(first, second)
        if observed is not None:
            close = math.isclose(observed.value, second.value, rel_tol=_ROUNDOFF)
            first, second = second, second if close else self._measure(exact, _EXACT)
        if not math.isfinite(first.value) or not math.isfinite(second.value):
            raise SearchError(
                f"evaluate gave {first.value} and {second.value} for the exact weights, expected finite numbers: "
                "check it with evaluate(module) on its own"
            )
        self._cache[content_digest(exact)] = first
        return first, abs(first.value - second.value)

    def score(self, tensors: Mapping[str, Tensor], what: str) -> Score:
        """The score of a candidate; equal candidates are evaluated once.

        Args:
            tensors: as :meth:`Archive.restore` returns them.
            what: the candidate, for messages.

        Raises:
            SearchError: the evaluation raises, or gives NaN. Minus infinity is a valid score: that of a broken model.
            MismatchError: the tensors do not fit the module.
        """
        digest = content_digest(tensors)
        if digest not in self._cache:
            self._cache[digest] = self._measure(tensors, what)
        return self._cache[digest]

    def other_score(self, evaluate: Evaluate, tensors: Mapping[str, Tensor], what: str) -> Score:
        """The score of some weights by another evaluation; errors as for :meth:`score`."""
        try:
            with self.loaded(tensors, what), torch.no_grad():
                return call_evaluate(evaluate, self.module, what)
        finally:
            self.count += 1

    def _observed(self, exact: Mapping[str, Tensor], observe: Observe) -> Score | None:
        try:
            return self._measure(exact, _EXACT, observe)
        except SearchStoppedError:
            raise
        except Exception as error:  # of any type: the evaluation is repeated without the observer
            _log.debug("evaluate cannot be observed: %s: %s", type(error).__name__, error)
            return None

    @contextmanager
    def exact_weights(self) -> Iterator[None]:
        """A context in which the exact weights are loaded and the module is in ``eval()`` mode."""
        with self.loaded(self.weights.state_dict(), _EXACT):
            yield

    @contextmanager
    def loaded(self, tensors: Mapping[str, Tensor], what: str) -> Iterator[None]:
        """A context in which these weights are loaded, ``what`` in messages, and the module is in ``eval()`` mode."""
        self.snapshot.restore()
        try:
            with torch.no_grad():
                load_into(self.module, tensors, excluded=self.weights.excluded, source=what)
            self.module.eval()
            yield
        finally:
            self.snapshot.restore()

    def _measure(self, tensors: Mapping[str, Tensor], what: str, observe: Observe = nullcontext) -> Score:
        try:
            with self.loaded(tensors, what), torch.no_grad(), observe():
                return call_evaluate(self.evaluate, self.module, what)
        finally:
            self.count += 1


@contextmanager
def evaluating(module: nn.Module, evaluate: Evaluate, weights: Weights) -> Iterator[Evaluator]:
    """A context that provides an evaluator, and restores the module when it ends.

    One copy of the exact values is held in main memory; there is no second model. ``evaluate`` is called without
    gradients, in ``eval()`` mode, each time from the same random state, and may leave the module in any mode.

    Args:
        module: the caller's module.
        evaluate: module → a number or :class:`Score`, higher is better.
        weights: the exact weights; they may share the module's memory.
    """
    # Lightning saves checkpoints in inference mode, and a tensor made there can never have gradients.
    with torch.inference_mode(False), preserved_module(module) as snapshot:
        yield Evaluator(module, evaluate, snapshot, without_aliases(weights, snapshot.copies))


def without_aliases(weights: Weights, copies: TensorCopies) -> Weights:
    """The weights, with a copy in place of each tensor that shares memory with the module."""

    def copied(weight: Weight) -> Weight:
        return replace(weight, tensor=copies.copy_of(weight.tensor)) if weight.tensor in copies else weight

    return replace(weights, weights=tuple(map(copied, weights)))


def call_evaluate(evaluate: Evaluate, module: nn.Module, what: str) -> Score:
    """Call ``evaluate`` on a module in its present state.

    Args:
        evaluate: module → a number or :class:`Score`, higher is better.
        module: with the weights to score loaded.
        what: these weights, for messages.

    Raises:
        SearchError: the evaluation raises, or returns NaN or something that is not a score.
        SearchStoppedError: the evaluation raises it.
    """
    try:
        value = evaluate(module)
    except SearchStoppedError:
        raise
    except Exception as error:
        raise SearchError(
            f"evaluate failed on {what} with {type(error).__name__}: {error}. The module is as it was."
        ) from error
    score = Score.from_value(value)
    if math.isnan(score.value):
        raise SearchError(
            f"evaluate gave NaN for {what}, expected a number. Where a broken model has no score, return "
            "float('-inf') for it."
        )
    return score


def check_arguments(module: object, evaluate: object) -> None:
    """Check the arguments of a search.

    Args:
        module: must be a ``torch.nn.Module``.
        evaluate: must be callable.

    Raises:
        SearchError: one of them is invalid.
    """
    if not isinstance(module, nn.Module):
        raise SearchError(
            f"the module is a {type(module).__name__}, expected a torch.nn.Module with its weights loaded"
        )
    if not callable(evaluate):
        raise SearchError(f"evaluate is {evaluate!r}, expected a function: module → score, higher is better")
