"""``plan="auto"``: the plan is searched at the first checkpoint, and used again as long as its files hold the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_compress.archive import Archive, Manifest, is_archive
from lightning_compress.callbacks.export.companions.naming import companion_of
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.objective import Objective
from lightning_compress.errors import CallbackError
from lightning_compress.plan import Plan
from lightning_compress.search import ASSURED, Calibration, reuse, smallest
from lightning_compress.weights import Weights

MAX_DROP = 0.3
EFFORT: Literal["default"] = "default"


def check_no_search(plan: object, optional: Sequence[object], max_drop: float, effort: str, assured: float) -> None:
    """Refuse arguments of a search beside a given plan.

    Args:
        plan: as the user gave it.
        optional: the values of the arguments whose default is None.
        max_drop: as the user gave it.
        effort: likewise.
        assured: likewise.

    Raises:
        CallbackError: one of them is not its default.
    """
    if any(value is not None for value in optional) or (max_drop, effort, assured) != (MAX_DROP, EFFORT, ASSURED):
        raise CallbackError(
            "evaluate, monitor, mode, calibration, max_drop, effort and assured are for plan='auto', and the plan is "
            f"{plan!r}: leave them out"
        )


def check_inline(background: str | None) -> None:
    """Refuse exports in the background beside a searched plan.

    Raises:
        CallbackError: ``background`` is not None.
    """
    if background is not None:
        raise CallbackError(
            f"background={background!r} does not work with plan='auto', whose search evaluates the module of the "
            "training: leave background out, or train with a given plan and search afterwards"
        )


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
    """

    def __init__(
        self, objective: Objective, calibration: Calibration | None, effort: str, assured: float = ASSURED
    ) -> None:
        assert objective.max_drop is not None
        self._objective, self._max_drop = objective, objective.max_drop
        self._calibration = calibration
        self._effort, self._assured = effort, assured
        self._found: _FoundPlan | None = None
        self._trainer: Trainer | None = None

    def attach(self, trainer: Trainer) -> None:
        """Search for the module of this trainer from now on."""
        self._trainer = trainer

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
            SearchError: the evaluation fails.
        """
        trainer = self._trainer
        assert trainer is not None
        module, metric = trainer.lightning_module, self._objective.resolve(trainer)
        if self._found is not None:
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
