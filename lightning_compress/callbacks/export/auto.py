"""``plan="auto"``: the plan is searched at the first checkpoint, and used again as long as its files hold the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_compress.archive import Archive, Manifest, is_archive
from lightning_compress.callbacks.arguments import checked
from lightning_compress.callbacks.export.companions.companion_files import find
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.console import announce
from lightning_compress.callbacks.hooks.lightning_types import Trainer
from lightning_compress.callbacks.objective import Objective
from lightning_compress.errors import CallbackError
from lightning_compress.files.companion_names import companion_of
from lightning_compress.plan import Plan
from lightning_compress.search import ASSURED, Calibration, reuse, smallest
from lightning_compress.search.effort import effort_of
from lightning_compress.search.max_drop import MaxDrop
from lightning_compress.weights import Weights

EFFORT: Literal["default"] = "default"


def check_no_search(plan: object, optional: Sequence[object], effort: str, assured: float) -> None:
    """Refuse arguments of a search beside a given plan.

    Args:
        plan: as the user gave it.
        optional: the values of the arguments whose default is None.
        effort: as the user gave it.
        assured: likewise.

    Raises:
        CallbackError: one of them is not its default.
    """
    if any(value is not None for value in optional) or (effort, assured) != (EFFORT, ASSURED):
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
        objective: what is measured.
        max_drop: the largest drop that is allowed; None for that of the metric.
        calibration: batches and their loss, for the search and for each later file of its plan.
        effort: as for :func:`~lightning_compress.smallest`.
        assured: likewise.
    """

    def __init__(
        self,
        objective: Objective,
        max_drop: MaxDrop | None,
        calibration: Calibration | None,
        effort: str,
        assured: float = ASSURED,
    ) -> None:
        self._objective, self._max_drop = objective, max_drop
        self._score = 0.0  # of the exact weights that the plan was found with; a share is a share of it
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
            CallbackError: the module is sharded; ``max_drop`` is needed; or without ``evaluate``: several processes, no
                validation, no metric.
        """
        if is_sharded(trainer):
            raise CallbackError(
                "plan='auto' loads candidates into the module, which is sharded here: train with a given plan, and "
                "search afterwards with smallest(…) or lightning-compress tune"
            )
        metric = self._objective.resolve(trainer)
        self._objective.check_trainer(trainer)
        evaluate = self._objective.evaluate
        name = metric.name if evaluate is None else getattr(evaluate, "__name__", metric.name)
        self._max_drop = self._max_drop or checked(MaxDrop.of_metric, name)
        what = "validations" if evaluate is None else "evaluations"
        announce(
            f"CompressCheckpoint('auto') searches at the first checkpoint, with up to "
            f"{effort_of(self._effort).evaluations} {what} of {name!r}; each later checkpoint takes 3"
        )

    def measure(self, trainer: Trainer) -> str:
        """The name of the score; empty if the user's own ``evaluate`` gives it."""
        return "" if self._objective.evaluate is not None else self._objective.resolve(trainer).name

    def resume(self, path: str) -> None:
        """Use the plan in the companion file of the checkpoint that a run resumes from."""
        companion = find(companion_of(path))
        if path and is_archive(companion):
            self._note_found(Archive.open(companion).manifest)

    def compress(self, weights: Weights) -> Archive:
        """The archive of these weights, by the plan found before if its file is still feasible, else by a new search.

        Raises:
            SearchError: the evaluation fails.
        """
        trainer = self._trainer
        assert trainer is not None
        assert self._max_drop is not None
        module, metric = trainer.lightning_module, self._objective.resolve(trainer)
        if self._found is not None:
            archive = reuse(
                self._found.plan,
                module,
                metric.score,
                self._max_drop.in_unit_of(self._score),
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
            self._max_drop.measured(module, metric.score, weights),
            calibration=self._calibration,
            effort=self._effort,
            assured=self._assured,
            progress=trainer.progress_bar_callback is not None,
            weights=weights,
        )
        self._note_found(archive.manifest)
        self._max_drop.warn_if_large(self._score)
        return archive

    def _note_found(self, manifest: Manifest) -> None:
        self._found = _FoundPlan.of(manifest)
        self._score = float(manifest.metrics.get("search", {}).get("score_before", 0.0))
