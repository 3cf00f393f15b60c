"""What logging adds to a training epoch of the Multi30k recipe: one run, epochs with and without loggers in turn.

    python -m benchmarks.logging_overhead --data FOLDER [--epochs 10] [--batches 200] [--output DIR]

Every epoch is validated, saved and compressed. In every second one the loggers are there as well: Weights & Biases,
offline, with scalars, tables, charts and the file as an artifact. Two numbers come out: the ratio of neighbouring
epochs, the median over all pairs, which a busy machine blurs; and the seconds spent in the logging itself over those
of its epoch, which it blurs less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from lightning_compress import Artifacts, CompressCheckpoint
from lightning_compress.callbacks.export.publishing import Publishing
from recipes.data.parallel_text import ParallelText
from recipes.transformer import TransformerTranslation

CONFIG = Path(__file__).parents[1] / "recipes" / "configs" / "transformer-multi30k.yaml"


class Alternating(Callback):
    """Takes the loggers away in every second epoch, and notes how long each epoch takes.

    The first epoch, which warms up, is not counted.
    """

    def __init__(self) -> None:
        self.loggers: list[Any] = []
        self.epochs: dict[bool, list[float]] = {True: [], False: []}
        self.logging: dict[bool, list[float]] = {True: [], False: []}
        self.began = self.spent = 0.0
        self.logged = False

    def timed(self, work: Callable[..., None]) -> Callable[..., None]:
        """The function, whose time counts as logging."""

        @wraps(work)
        def wrapper(*args: Any, **kwargs: Any) -> None:
            began = time.perf_counter()
            work(*args, **kwargs)
            self.spent += time.perf_counter() - began

        return wrapper

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.loggers = list(trainer.loggers)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer.current_epoch)
        self.logged = trainer.current_epoch % 2 == 1
        trainer.loggers = self.loggers if self.logged else []
        self.spent, self.began = 0.0, time.perf_counter()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._note(trainer.current_epoch)

    def _note(self, epoch: int) -> None:
        if epoch > 1:
            self.epochs[self.logged].append(time.perf_counter() - self.began)
            self.logging[self.logged].append(self.spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of train.en, train.de, valid.en, valid.de")
    parser.add_argument("--epochs", type=int, default=10, help="epochs that are counted, an even number")
    parser.add_argument("--batches", type=int, help="batches of training and validation in an epoch (default: all)")
    parser.add_argument("--output", help="folder of the run (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or temporary
        os.environ.update(WANDB_SILENT="true", WANDB_DIR=folder, WANDB_DATA_DIR=folder)
        print_result(run(options, folder))


def run(options: argparse.Namespace, folder: str) -> Alternating:
    """Train as the recipe's configuration says, without its averaging."""
    config = yaml.safe_load(CONFIG.read_text())
    seed_everything(1)
    data = ParallelText(**{**config["data"], "folder": options.data, "test": None})
    module = TransformerTranslation(data.source_words, data.target_words, **config["model"]["init_args"])
    alternating = Alternating()
    for name in ("new_file", "upload"):
        setattr(Publishing, name, alternating.timed(getattr(Publishing, name)))
    trainer = Trainer(
        max_epochs=options.epochs + 1,
        limit_train_batches=options.batches,
        limit_val_batches=options.batches,
        precision=config["trainer"]["precision"],
        log_every_n_steps=config["trainer"]["log_every_n_steps"],
        default_root_dir=folder,
        logger=WandbLogger(project="overhead", save_dir=folder, mode="offline"),
        # The loggers are put into place and taken away before any other callback begins an epoch.
        callbacks=[
            alternating,
            ModelCheckpoint(Path(folder) / "checkpoints", "{epoch}"),
            CompressCheckpoint(config["compress"]["plan"], artifacts=Artifacts(keep=3)),
        ],
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, data)
    return alternating


def print_result(measured: Alternating) -> None:
    pairs = list(zip(measured.epochs[True], measured.epochs[False], strict=True))
    ratios = [logged / alone for logged, alone in pairs]
    shares = [spent / epoch for spent, epoch in zip(measured.logging[True], measured.epochs[True], strict=True)]
    for number, ((logged, alone), spent) in enumerate(zip(pairs, measured.logging[True], strict=True)):
        print(f"pair {number}: {logged:8.2f} s with loggers, {alone:8.2f} s without; {spent:6.3f} s of logging")
    print(f"epochs with loggers take {100 * (statistics.median(ratios) - 1):+.2f} % (median of {len(pairs)} pairs)")
    median, most = 100 * statistics.median(shares), 100 * max(shares)
    print(f"logging itself takes {median:.2f} % of an epoch (median), {most:.2f} % at most")


if __name__ == "__main__":
    main()
