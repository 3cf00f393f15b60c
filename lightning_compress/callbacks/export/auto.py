"""``plan="auto"``: the plan is searched at the first checkpoint and used again as long as it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_compress.archive import Archive, Manifest, is_archive
from lightning_compress.callbacks.export.naming import partner_of
from lightning_compress.callbacks.hooks.collective import is_sharded
from lightning_compress.callbacks.hooks.validation import validated
from lightning_compress.callbacks.monitored import Mode, monitored
from lightning_compress.errors import CallbackError
from lightning_compress.plan import Plan
from lightning_compress.search import Calibration, Evaluate, reuse, smallest
from lightning_compress.search.effort import effort_of
from lightning_compress.weights import Weights


@dataclass(frozen=True)
class _Found:
    """The plan of a search, and whether its file was recovered, or guided by the evaluation."""

    plan: Plan
    recovered: bool
    observed: bool

    @classmethod
    def of(cls, manifest: Manifest) -> _Found | None:
        """None where nothing better than a fallback was found, or no search was made."""
        facts = manifest.metrics.get("search", {})
        if not facts or "fallback" in facts:
            return None
        return cls(Plan.from_config(manifest.plan), bool(facts.get("recovered")), bool(facts.get("observed")))


class Auto:
    """Searches plans for a trainer's module.

    Args:
        evaluate: module → score; the trainer's own validation of ``monitor`` where it is None.
        monitor: the metric that validation measures; that of the trainer's ``ModelCheckpoint`` where it is None.
        mode: whether more of it is better; as the ``ModelCheckpoint`` that monitors it says where it is None.
        max_drop: the largest loss of score allowed.
        calibration: batches and their loss, for the search and for each file that its plan is used for again.
        effort: as for :func:`~lightning_compress.smallest`.

    Raises:
        SearchError: an unknown effort.
    """

    def __init__(
        self,
        evaluate: Evaluate | None,
        monitor: str | None,
        mode: Mode | None,
        max_drop: float,
        calibration: Calibration | None,
        effort: str,
    ) -> None:
        effort_of(effort)
        self._evaluate = evaluate
        self._monitor, self._mode = monitor, mode
        self._max_drop = max_drop
        self._calibration = calibration
        self._effort = effort
        self._found: _Found | None = None

    def check(self, trainer: Any) -> None:
        """Refuse a trainer whose module cannot be judged, before the first step.

        Raises:
            CallbackError: the module lies in shards; or without ``evaluate``: several processes, no validation, no
                metric.
        """
        if is_sharded(trainer):
            raise CallbackError(
                "plan='auto' loads candidates into the module, which is sharded here: train with a given plan, and "
                "search afterwards with smallest(…) or lightning-compress tune"
            )
        if self._evaluate is not None:
            return
        self._monitored(trainer)
        if trainer.world_size > 1:
            raise CallbackError(
                f"the trainer's own validation cannot run on one of {trainer.world_size} processes alone: give "
                "CompressCheckpoint(evaluate=…), which is called on rank 0"
            )
        if not trainer.enable_validation:
            raise CallbackError(
                "plan='auto' needs a score: give CompressCheckpoint(evaluate=…), or the trainer a validation"
            )

    def measure(self, trainer: Any) -> str:
        """The name of the score, empty where the user's own ``evaluate`` makes it."""
        return "" if self._evaluate is not None else self._monitored(trainer)[0]

    def resume(self, path: str) -> None:
        """Take up the plan of the compressed file beside the checkpoint that a run resumes from."""
        if path and is_archive(partner_of(path)):
            self._found = _Found.of(Archive.open(partner_of(path)).manifest)

    def compress(self, trainer: Any, weights: Weights) -> Archive:
        """The file of these weights, by the plan found before if it still holds, else by a new search.

        Raises:
            SearchError: the evaluation fails.
        """
        module, evaluate = trainer.lightning_module, self._evaluator(trainer)
        if self._found is not None:
            archive = reuse(
                self._found.plan,
                module,
                evaluate,
                self._max_drop,
                weights,
                calibration=self._calibration,
                recovered=self._found.recovered,
                observed=self._found.observed,
                effort=self._effort,
            )
            if archive is not None:
                return archive
        archive = smallest(
            module,
            evaluate,
            self._max_drop,
            calibration=self._calibration,
            effort=self._effort,
            progress=trainer.progress_bar_callback is not None,
            weights=weights,
        )
        self._found = _Found.of(archive.manifest)
        return archive

    def _evaluator(self, trainer: Any) -> Evaluate:
        if self._evaluate is not None:
            return self._evaluate
        monitor, mode = self._monitored(trainer)
        sign = 1.0 if mode == "max" else -1.0
        return lambda module: sign * validated(trainer, module, monitor)

    def _monitored(self, trainer: Any) -> tuple[str, Mode]:
        known = monitored(trainer)
        monitor = self._monitor or next(iter(known), None)
        if monitor is None:
            raise CallbackError(
                "plan='auto' needs a score: give CompressCheckpoint(monitor=…, mode=…) or (evaluate=…), or a "
                "ModelCheckpoint(monitor=…)"
            )
        mode = self._mode or known.get(monitor)
        if mode is None:
            raise CallbackError(
                f"whether more of {monitor!r} is better is not known, no ModelCheckpoint monitors it: "
                "give CompressCheckpoint(mode='max') or (mode='min')"
            )
        return monitor, mode
