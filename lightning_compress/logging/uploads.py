"""Uploading compressed files while a training runs, without it waiting or failing."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock, Thread
from time import monotonic
from typing import Any

from lightning_compress.files import read_bytes
from lightning_compress.logging.artifacts import FILE, TYPE, Artifacts, prune_artifacts

_log = logging.getLogger(__name__)


class Uploads:
    """The uploads of one callback.

    wandb copies a file at once and uploads it in a process of its own. A thread waits for each upload, tells of its
    failure, and retires old versions once it is done; offline there is nothing to wait for.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts
        self._under_way: list[Thread] = []
        self._one_at_a_time = Lock()

    def upload(self, runs: Sequence[Any], path: str, aliases: Sequence[str], metadata: Mapping[str, Any]) -> None:
        """Hand a file to each run, under these aliases; failures are logged.

        Args:
            runs: of Weights & Biases.
            path: of a compressed file, local or a URL; it may be deleted as soon as this returns.
            aliases: such as ``latest`` and ``epoch-3``.
            metadata: plain data; the run's id is added.
        """
        for run in runs:
            try:
                logged = self._hand_over(run, path, aliases, metadata)
            except Exception as error:
                _log.error("%s was not uploaded to wandb, the training goes on: %r", path, error)
                continue
            if not (getattr(run, "offline", False) or getattr(run, "disabled", False)):
                self._watch(run, path, logged)

    def finish(self, seconds: float = 60.0) -> None:
        """Wait at most so long for what is under way; wandb goes on with it after that."""
        until = monotonic() + seconds
        for thread in self._under_way:
            thread.join(max(0.0, until - monotonic()))
        self._under_way = [thread for thread in self._under_way if thread.is_alive()]

    def _hand_over(self, run: Any, path: str, aliases: Sequence[str], metadata: Mapping[str, Any]) -> Any:
        import wandb

        draft = wandb.Artifact(self._artifacts.name_in(run), type=TYPE, metadata={**metadata, "run": run.id})
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / FILE
            copy.write_bytes(read_bytes(path))
            # wandb makes a copy of its own, and is not to keep that once it is uploaded.
            draft.add_file(str(copy), name=FILE, skip_cache=True)
        return run.log_artifact(draft, aliases=list(aliases))

    def _watch(self, run: Any, path: str, logged: Any) -> None:
        # Waiting with a timeout in the training's own thread would do, but a wait that runs out cancels the upload.
        self._under_way = [thread for thread in self._under_way if thread.is_alive()]
        thread = Thread(target=self._see_through, args=(run, path, logged), name="compressed-upload", daemon=True)
        self._under_way.append(thread)
        thread.start()

    def _see_through(self, run: Any, path: str, logged: Any) -> None:
        try:
            logged.wait()
        except Exception as error:
            _log.error("the upload of %s to wandb failed, the training goes on: %s", path, error)
            return
        if self._artifacts.keep is None:
            return
        name = self._artifacts.name_in(run)
        try:
            with self._one_at_a_time:
                prune_artifacts(f"{run.entity}/{run.project}/{name}", self._artifacts, run=run.id)
        except Exception as error:
            _log.warning("old versions of %s stay in wandb for now: %r", name, error)
