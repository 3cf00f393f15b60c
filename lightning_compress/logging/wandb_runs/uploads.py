"""Uploads compressed files to Weights & Biases in the background, so that training neither waits nor fails."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from time import monotonic
from typing import Any

from lightning_compress.files import read_bytes
from lightning_compress.logging.failures import log_failure
from lightning_compress.logging.logger_types import LoggedArtifact, WandbRun
from lightning_compress.logging.wandb_runs.artifacts import FILE, TYPE, Artifacts, prune_artifacts


class Uploads:
    """The uploads of one callback.

    wandb copies a file at once and uploads it in a process of its own. For each upload a thread waits until it is
    complete, logs its failure, and then removes old versions. An offline run uploads nothing, so nothing is waited for.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._threads: list[Thread] = []
        self._pruning = Lock()

    def upload(self, runs: Sequence[WandbRun], path: str, aliases: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Add a file to each run as a version of its artifact; failures are logged.

        Args:
            runs: of Weights & Biases.
            path: of a compressed file, local or a URL; the file may be deleted as soon as this returns.
            aliases: such as ``latest`` and ``epoch-3``.
            metadata: plain data; the run's id is added.
        """
        for run in runs:
            with log_failure(f"{path} was not uploaded to wandb"):
                logged = self._log_artifact(run, path, aliases, metadata)
                if not (getattr(run, "offline", False) or getattr(run, "disabled", False)):
                    self._start_waiting(run, path, logged)

    def finish(self, seconds: float = 60.0) -> None:
        """Wait at most this long for unfinished uploads; wandb continues with the rest afterwards."""
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        self._threads = [thread for thread in self._threads if thread.is_alive()]

    def _log_artifact(
        self, run: WandbRun, path: str, aliases: Sequence[str], metadata: Mapping[str, Any]
    ) -> LoggedArtifact:
        import wandb

        draft = wandb.Artifact(self._artifacts.name_in(run), type=TYPE, metadata={**metadata, "run": run.id})
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / FILE
            copy.write_bytes(read_bytes(path))
            # wandb copies the file for the upload; skip_cache deletes that copy when the upload is complete.
            draft.add_file(str(copy), name=FILE, skip_cache=True)
        return run.log_artifact(draft, aliases=list(aliases))

    def _start_waiting(self, run: WandbRun, path: str, logged: LoggedArtifact) -> None:
        # Waiting with a timeout in the training's own thread is no alternative: when it expires, wandb cancels the
        # upload.
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = Thread(target=self._wait_and_prune, args=(run, path, logged), name="compressed-upload", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _wait_and_prune(self, run: WandbRun, path: str, logged: LoggedArtifact) -> None:
        is_uploaded = False
        with log_failure(f"the upload of {path} to wandb failed"):
            logged.wait()
            is_uploaded = True
        if is_uploaded and self._artifacts.keep is not None:
            name = self._artifacts.name_in(run)
            with log_failure(f"old versions of {name} were not removed from wandb", logging.WARNING), self._pruning:
                prune_artifacts(f"{run.entity}/{run.project}/{name}", self._artifacts, run=run.id)
