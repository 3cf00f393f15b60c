"""``plan="auto"``: the plan is searched, once or often, and used again as long as its files hold the score.

With a search at the end, checkpoints of the training have companion files in half precision, which need no evaluation.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from lightning_compress.archive import Archive, Manifest, is_archive
from lightning_compress.callbacks.export.naming import companion_of
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.objective import Objective
from lightning_compress.compression import compress
from lightning_compress.errors import CallbackError, SearchError
from lightning_compress.plan import Plan, Rule
from lightning_compress.quantize import Half
from lightning_compress.search import ASSURED, Calibration, reuse, smallest
from lightning_compress.weights import Weights

SearchAt = Literal["end", "first", "every"]
_PROVISIONAL = Plan(Rule("*", Half(rounding="nearest"), optional=True))
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _FoundPlan:
    """The plan of a search, and whether its file went through recovery or was guided by an evaluation."""

    plan: Plan
    recovered: bool
    observed: bool

    @classmethod
    def of(cls, manifest: Manifest) -> _FoundPlan | None:
        """None if the file comes from no search, or only a fallback was feasible."""
        metrics = manifest.metrics.get("search", {})
        if not metrics or "fallback" in metrics:
            return None
        return cls(Plan.from_config(manifest.plan), bool(metrics.get("recovered")), bool(metrics.get("observed")))


class Auto:
    """Searches plans for a trainer's module. It evaluates the live module, so it runs in the training's own thread.

    Args:
        objective: what is measured, and the largest drop that is allowed.
        calibration: batches and their loss, for the search and for each later file of its plan.
        effort: as for :func:`~lightning_compress.smallest`.
        assured: likewise.
        search_at: at the ``"end"`` of the training, at the ``"first"`` checkpoint, or at ``"every"`` one.

    Attributes:
        is_provisional: whether files are made without a search for now.
    """

    def __init__(
        self,
        objective: Objective,
        calibration: Calibration | None,
        effort: str,
        assured: float = ASSURED,
        search_at: SearchAt = "end",
    ) -> None:
        assert objective.max_drop is not None
        self._objective, self._max_drop = objective, objective.max_drop
        self._calibration = calibration
        self._effort, self._assured = effort, assured
        self._search_at, self.is_provisional = search_at, search_at == "end"
        self._found: _FoundPlan | None = None
        self._trainer: Trainer | None = None

    def attach(self, trainer: Trainer) -> None:
        """Search for the module of this trainer from now on."""
        self._trainer = trainer

    def start(self) -> None:
        """A training starts."""
        self.is_provisional = self._search_at == "end"

    def check(self, trainer: Trainer) -> None:
        """Refuse a trainer whose module cannot be measured, before the first step.

        Raises:
            CallbackError: the module is sharded; or without ``evaluate``: several processes, no validation, no metric.
        """
        if is_sharded(trainer):
            raise CallbackError(
                "plan='auto' loads candidates into the module, which is sharded here: train with a given plan, and "
                "search afterwards with smallest(…) or lightning-compress tune"
            )
        self._objective.resolve(trainer)
        self._objective.check_trainer(trainer)

    def measure(self, trainer: Trainer) -> str:
        """The name of the score; empty if the user's own ``evaluate`` gives it."""
        return "" if self._objective.evaluate is not None else self._objective.resolve(trainer).name

    def resume(self, path: str) -> None:
        """Use the plan in the companion file of the checkpoint that a run resumes from."""
        if path and is_archive(companion_of(path)):
            self._found = _FoundPlan.of(Archive.open(companion_of(path)).manifest)

    def compress(self, weights: Weights) -> Archive:
        """The archive of these weights, by the plan found before if its file is still feasible, else by a new search.

        Raises:
            SearchError: the evaluation fails, and the search is not at the end.
        """
        if self.is_provisional:
            return compress(weights, _PROVISIONAL)
        try:
            return self._searched(weights)
        except SearchError as error:
            if self._search_at != "end":
                raise
            _log.error("the search at the end failed, so the file stays in half precision: %s", error)
            return compress(weights, _PROVISIONAL)

    def _searched(self, weights: Weights) -> Archive:
        trainer = self._trainer
        assert trainer is not None
        module, metric = trainer.lightning_module, self._objective.resolve(trainer)
        if self._found is not None and self._search_at != "every":
            archive = reuse(
                self._found.plan,
                module,
                metric.score,
                self._max_drop,
                weights,
                calibration=self._calibration,
                recovered=self._found.recovered,
                observed=self._found.observed,
                effort=self._effort,
                assured=self._assured,
            )
            if archive is not None:
                return archive
        archive = smallest(
            module,
            metric.score,
            self._max_drop,
            calibration=self._calibration,
            effort=self._effort,
            assured=self._assured,
            progress=trainer.progress_bar_callback is not None,
            weights=weights,
        )
        self._found = _FoundPlan.of(archive.manifest)
        return archive
