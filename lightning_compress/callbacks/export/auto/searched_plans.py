"""``plan="auto"``: the plan is searched, once or often, and used again as long as its files hold the score.

With a search at the end, checkpoints of the training have companion files in half precision, which need no evaluation.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from lightning_compress.archive import Archive, Manifest, is_archive
from lightning_compress.callbacks.arguments import checked
from lightning_compress.callbacks.export.auto.search_cost import SearchCost
from lightning_compress.callbacks.export.companions.companion_files import find
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.console import announce
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.hooks.validation import check_not_terminated
from lightning_compress.callbacks.objective import Metric, Objective
from lightning_compress.compression import compress
from lightning_compress.errors import CallbackError, SearchError
from lightning_compress.files.companion_names import companion_of
from lightning_compress.plan import Plan
from lightning_compress.search import ASSURED, CalibrationData, Evaluate, reuse, smallest
from lightning_compress.search.effort import effort_of
from lightning_compress.search.max_drop import MaxDrop, name_of
from lightning_compress.search.smallest_file.plain_storage import PLAIN
from lightning_compress.weights import Weights

SearchAt = Literal["end", "first", "every"]
_WHEN = {
    "end": "when the training ends, for the best checkpoint, with {}; until then files keep 16 bits of each weight",
    "first": "at the first checkpoint, with {}; each later checkpoint takes 3",
    "every": "at every checkpoint, with {} each time",
}
EFFORT: Literal["default"] = "default"
SEARCH_AT: SearchAt = "end"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _FoundPlan:
    """The plan of a search, and whether its file was guided by an evaluation."""

    plan: Plan
    observed: bool

    @classmethod
    def of(cls, manifest: Manifest) -> _FoundPlan | None:
        """None if the file comes from no search, or only a fallback was feasible."""
        metrics = manifest.metrics.get("search", {})
        if not metrics or "fallback" in metrics:
            return None
        return cls(Plan.from_config(manifest.plan), bool(metrics.get("observed")))


class Auto:
    """Searches plans for a trainer's module. It evaluates the live module, so it runs in the training's own thread.

    Args:
        objective: what is measured.
        max_drop: the largest drop that is allowed; None for that of the metric.
        calibration: batches with their loss or the module's outputs, for the search and each later file of its plan.
        effort: as for :func:`~lightning_compress.smallest`.
        assured: likewise.
        search_at: at the ``"end"`` of the training, at the ``"first"`` checkpoint, or at ``"every"`` one.
        confirm: module → value of other items, in the unit of the objective; or True or False, as for ``smallest``.

    Attributes:
        is_provisional: whether files are made without a search for now.
        cost: says what a search will cost.
        interrupted: whether the user has interrupted a search, whose file is to be written before the training ends.
    """

    def __init__(
        self,
        objective: Objective,
        max_drop: MaxDrop | None,
        calibration: CalibrationData | None,
        effort: str,
        assured: float = ASSURED,
        search_at: SearchAt = "end",
        confirm: Evaluate | bool = True,
    ) -> None:
        self._objective, self._max_drop, self._confirm = objective, max_drop, confirm
        self._calibration = calibration
        self._effort, self._assured = effort, assured
        self._search_at, self.is_provisional = search_at, search_at == "end"
        self._found: _FoundPlan | None = None
        self.interrupted = False
        self.cost = SearchCost(effort_of(effort).evaluations)
        self._trainer: Trainer | None = None

    def attach(self, trainer: Trainer) -> None:
        """Search for the module of this trainer from now on."""
        self._trainer = trainer

    def start(self, path: str) -> None:
        """A training starts. Use the plan in the companion file of the checkpoint that it resumes from, if any."""
        self.is_provisional = self._search_at == "end"
        companion = find(companion_of(path)) if path else path
        if path and is_archive(companion):
            self._found = _FoundPlan.of(Archive.open(companion).manifest)

    def check(self, trainer: Trainer) -> None:
        """Refuse a trainer whose module cannot be measured, before the first step.

        Raises:
            CallbackError: the module is sharded; ``max_drop`` is needed; or without ``evaluate``: no validation, no
                metric.
        """
        if is_sharded(trainer):
            raise CallbackError(
                "plan='auto' loads candidates into the module, which is sharded here: train with a given plan, and "
                "search afterwards with smallest(…) or lightning-compress tune"
            )
        metric = self._objective.resolve(trainer)
        self._objective.check_trainer(trainer)
        evaluate = self._objective.evaluate
        name = metric.name if evaluate is None else name_of(evaluate)
        self._max_drop = self._max_drop or checked(MaxDrop.of_metric, name)
        what = "validations" if evaluate is None else "evaluations"
        most = f"up to {effort_of(self._effort).evaluations} {what} of {name!r}"
        announce(f"CompressCheckpoint('auto') searches {_WHEN[self._search_at].format(most)}")

    def validation_starts(self, trainer: Trainer) -> None:
        """The trainer's own validation in ``fit``: where it gives the score, it tells what a search will cost."""
        if self._objective.evaluate is None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.cost.begin()

    def measure(self, trainer: Trainer) -> str:
        """The name of the score; empty if the user's own ``evaluate`` gives it."""
        return "" if self._objective.evaluate is not None else self._objective.resolve(trainer).name

    def compress(self, weights: Weights) -> Archive:
        """The archive of these weights, by the plan found before if its file is still feasible, else by a new search.

        Raises:
            SearchError: the evaluation fails, and the search is not at the end.
        """
        if self.is_provisional:
            return compress(weights, PLAIN["half"])
        try:
            return self._searched(weights)
        except Exception as error:
            if self._search_at != "end":
                raise
            told = error if isinstance(error, SearchError) else f"{type(error).__name__}: {error}"
            _log.error("the search at the end failed, so the file stays in half precision: %s", told)
            return compress(weights, PLAIN["half"])

    def _searched(self, weights: Weights) -> Archive:
        trainer = self._trainer
        assert trainer is not None
        assert self._max_drop is not None
        module, metric = trainer.lightning_module, self._objective.resolve(trainer)
        evaluate = self._watched(trainer, metric)
        confirm = self._confirm
        if not isinstance(confirm, bool):
            confirm = self._watched(trainer, replace(metric, evaluate=confirm))
        if self._found is not None and self._search_at != "every":
            archive = reuse(
                self._found.plan,
                module,
                evaluate,
                self._max_drop,
                weights,
                calibration=self._calibration,
                observed=self._found.observed,
                assured=self._assured,
            )
            if archive is not None:
                return _naming(archive, metric)
        archive = smallest(
            module,
            evaluate,
            self._max_drop,
            confirm=confirm,
            calibration=self._calibration,
            effort=self._effort,
            assured=self._assured,
            progress=trainer.progress_bar_callback is not None,
            weights=weights,
        )
        self._found = _FoundPlan.of(archive.manifest)
        self.interrupted = archive.manifest.metrics["search"].get("interrupted") == KeyboardInterrupt.__name__
        return _naming(archive, metric)

    def end_if_interrupted(self, trainer: Trainer) -> None:
        """End the training as the user wanted when a search was interrupted; the file that it had found is written.

        To be called on every rank.

        Raises:
            KeyboardInterrupt: a search was interrupted on rank 0.
        """
        interrupted, self.interrupted = trainer.strategy.broadcast(self.interrupted, src=0), False
        if interrupted:
            raise KeyboardInterrupt

    def _watched(self, trainer: Trainer, metric: Metric) -> Evaluate:
        """The metric's score, unless the process is to end; the first evaluation says what the search will cost."""

        def score(module: nn.Module) -> Any:
            check_not_terminated(trainer)
            self.cost.begin()
            value = metric.score(module)
            self.cost.end()
            return value

        return score


def _naming(archive: Archive, metric: Metric) -> Archive:
    """The archive, with the name and the mode of the metric in the record of its search."""
    search = archive.manifest.metrics["search"]
    return archive.with_metrics({"search": {**search, "measure": metric.name, "mode": metric.mode}})
