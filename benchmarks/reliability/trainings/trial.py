"""The training of a trial: it reports its saves, and judges its folder when it has started and when it has ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from benchmarks.reliability.trainings.child_processes import Mark
from benchmarks.reliability.trainings.folder_state import FolderState, digests, inspect, read
from benchmarks.reliability.trainings.training import Variant, fit
from lightning_compress.callbacks import reconcile

EPOCHS = 4  # of a new training
RESUMED_EPOCHS = 2  # that a resumed training adds


@dataclass(frozen=True)
class Moment:
    """The folder of a training at one moment.

    Attributes:
        state: what is wrong in it.
        digests: of each complete checkpoint.
        errors: lines that the callback has logged at level ERROR until then.
    """

    state: FolderState
    digests: dict[str, str]
    errors: list[str]

    @classmethod
    def read(cls, path: Path) -> Moment | None:
        """The moment that a child has written; None if it did not get so far."""
        if not path.exists():
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        state = FolderState(**{name: tuple(paths) for name, paths in content.pop("state").items()})
        return cls(state, **content)

    def write(self, path: Path) -> None:
        """Write the moment for the parent."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def train(variant: Variant, folder: Path, seed: int, start: Path | None, mark: Mark) -> None:
    """Train in ``folder/saved`` for some epochs more than the checkpoint ``start`` has, and write both moments."""
    errors = Errors()
    logging.getLogger("lightning_compress").addHandler(errors)
    watcher = _Watcher(variant, folder, errors.lines, mark)
    for moment in ("start", "end", "reconciled"):
        (folder / f"{moment}.json").unlink(missing_ok=True)
    ended = fit(variant, folder / "saved", seed, watcher, ckpt_path=start, max_epochs=_epochs(start))
    watcher.write("end", ended)
    if variant.is_searched:
        reconcile(folder / "saved" / "run", "half")
        watcher.write("reconciled", ended)


def _epochs(start: Path | None) -> int:
    content = None if start is None else read(start)
    return EPOCHS if content is None else int(content["epoch"]) + 1 + RESUMED_EPOCHS


class Errors(logging.Handler):
    """Collects the messages of level ERROR."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class _Watcher(pl.Callback):
    """Reports each save, link and deletion, companion files included."""

    def __init__(self, variant: Variant, folder: Path, errors: list[str], mark: Mark) -> None:
        self._variant, self._folder, self._errors, self._mark = variant, folder, errors, mark

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Report what the strategy and the checkpoint callbacks do; the callback that compresses is attached now."""
        strategy: Any = trainer.strategy
        strategy.save_checkpoint = self._reported("save", strategy.save_checkpoint)
        strategy.remove_checkpoint = self._reported("remove", strategy.remove_checkpoint)
        for callback in trainer.checkpoint_callbacks:
            vars(callback)["_link_checkpoint"] = self._reported("link", callback._link_checkpoint)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the folder that the callback has put in order."""
        self.write("start", trainer)

    def write(self, name: str, trainer: pl.Trainer) -> None:
        """Judge the folder and write the moment."""
        best = [path for each in trainer.checkpoint_callbacks if (path := getattr(each, "best_model_path", ""))]
        saved = self._folder / "saved"
        state = inspect(saved, self._variant.when, best)
        Moment(state, digests(saved), self._errors).write(self._folder / f"{name}.json")

    def _reported(self, what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def reported(*arguments: Any, **settings: Any) -> Any:
            self._mark(f"{what} ")
            done = work(*arguments, **settings)
            self._mark(f"{what}-done")
            return done

        return reported
