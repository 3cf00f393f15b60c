"""What loggers are told of the compressed files of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning_compress.archive import Archive
from lightning_compress.callbacks.export.policy import is_best
from lightning_compress.logging import (
    Artifacts,
    Uploads,
    describe_runs,
    log_pictures,
    log_report,
    logging_step,
    runs_of,
)
from lightning_compress.logging.environment import git_commit
from lightning_compress.logging.throttle import Sparing
from lightning_compress.runtime import preserved_random_state
from lightning_compress.weights import Weights

SHARE = 0.005  # of the time, that drawing charts may take
_log = logging.getLogger(__name__)


class Publishing:
    """Tells loggers of plans and files, and uploads the files where that is asked for. Nothing here raises.

    Args:
        artifacts: what is uploaded to Weights & Biases; True for its defaults, False for nothing.
        pictures: whether charts are drawn for the loggers that hold pictures: of the first file, of each whose plan is
            another, and otherwise as often as a share of the time allows.
    """

    def __init__(self, artifacts: Artifacts | bool, pictures: bool) -> None:
        options = Artifacts() if artifacts is True else artifacts
        self._uploads = Uploads(options) if options else None
        self._pictures, self._drawing = pictures, Sparing(SHARE)
        self._plan: Mapping[str, Any] | None = None
        self._commit: str | None = None
        self._uploaded = ("", frozenset[str]())  # fingerprint of the weights uploaded last, and their aliases

    def start(self, trainer: Any, plan: Mapping[str, Any]) -> None:
        """A run begins, with this plan or with what is known of it."""
        if not trainer.is_global_zero:
            return
        self._plan = plan
        with _harmless("describing the run"), preserved_random_state():
            self._commit = git_commit() if self._uploads else None
            describe_runs(trainer.loggers, plan)
        if self._uploads and not runs_of(trainer.loggers):
            _log.warning(
                "artifacts=… uploads to Weights & Biases, and the trainer has no WandbLogger with a run: nothing is "
                "uploaded. pip install wandb, and give the Trainer logger=WandbLogger(…)"
            )

    def new_file(self, trainer: Any, archive: Archive, weights: Weights, seconds: float, measure: str) -> None:
        """A file was written that holds weights which none did before.

        Args:
            trainer: that saved the checkpoint.
            archive: of the file.
            weights: it was made of.
            seconds: what making it took.
            measure: the name of the score in its metrics, empty where that is not known.
        """
        step, scores = logging_step(trainer), archive.manifest.metrics.get("search", {})
        with _harmless("logging a compressed file"):
            log_report(trainer.loggers, archive.report(), seconds=seconds, step=step, scores=scores, measure=measure)
            is_planned_anew = archive.manifest.plan != self._plan
            if is_planned_anew:
                self._plan = archive.manifest.plan
                describe_runs(trainer.loggers, archive.manifest.plan)
            if self._pictures and (is_planned_anew or self._drawing.is_due):
                with self._drawing.working():
                    log_pictures(trainer.loggers, archive, weights, step)

    def upload(self, trainer: Any, archive: Archive, file: str, checkpoint: str) -> None:
        """Upload the file that stands beside this checkpoint.

        Weights that were uploaded a moment ago are uploaded again only to be called by one more name.
        """
        if self._uploads:
            with _harmless(f"uploading {file}"):
                self._upload(self._uploads, trainer, archive, file, checkpoint)

    def _upload(self, uploads: Uploads, trainer: Any, archive: Archive, file: str, checkpoint: str) -> None:
        aliases = {"latest", f"epoch-{trainer.current_epoch}"} | ({"best"} if is_best(trainer, checkpoint) else set())
        fingerprint, known = self._uploaded
        if fingerprint == archive.manifest.fingerprint and aliases <= known:
            return
        self._uploaded = archive.manifest.fingerprint, frozenset(aliases)
        uploads.upload(runs_of(trainer.loggers), file, sorted(aliases), self._metadata(trainer, archive))

    def finish(self) -> None:
        """The run is over: wait a while for the uploads."""
        if self._uploads:
            self._uploads.finish()

    def _metadata(self, trainer: Any, archive: Archive) -> dict[str, Any]:
        report, facts = archive.report(), archive.manifest.metrics.get("search", {})
        exact = {name: float(value) for name, value in trainer.callback_metrics.items()}
        measured = {name: facts[name] for name in ("score_before", "score_after", "drop") if name in facts}
        return {
            "bytes": archive.nbytes,
            "ratio": report.ratio,
            "bits_per_weight": report.bits_per_weight,
            **measured,
            "exact_metrics": exact,
            "plan": archive.manifest.plan,
            "epoch": trainer.current_epoch,
            "step": logging_step(trainer),
            "fingerprint": archive.manifest.fingerprint,
            "git_commit": self._commit,
        }


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _log.error("%s failed, the training goes on: %r", what, error)
