"""From a trained checkpoint to a small file: train on with quantized weights until the file has the bytes asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_compress import CompressCheckpoint, Distill, QuantizeDuringTraining, Weights
from lightning_compress.training import exact_bytes, factorize
from recipes.checks import check_least, check_sizes
from recipes.data.batching import Batch
from recipes.data.parallel_text import ParallelText
from recipes.data.vocabulary import PAD
from recipes.errors import SettingsError
from recipes.finetune.calibration import TrainingText
from recipes.models.network import Network
from recipes.training.bleu import Bleu
from recipes.training.schedule import Cosine
from recipes.translate import load_translator
from recipes.translation import Translation

NAME = "finetuned"


@dataclass(frozen=True)
class Settings:
    """How a fine-tuning trains.

    Attributes:
        ratio: bytes of the exact weights over bytes of the file.
        epochs: passes over the training text.
        learning_rate: the highest; it falls by a cosine.
        share: of the distillation from the exact weights in the loss.
        measure_every: optimizer steps between two measurements of the file.
        rank_ratio: bytes of the exact weights over those of their factors of low rank, with which the training starts,
            less than ``ratio``; None for matrices as they are.
        rank_epochs: passes over the text in which the factors are trained before they are quantized.

    Raises:
        SettingsError: if a number is out of range.
    """

    ratio: float
    epochs: int = 4
    learning_rate: float = 3e-4
    share: float = 0.7
    measure_every: int = 50
    rank_ratio: float | None = None
    rank_epochs: int = 1

    def __post_init__(self) -> None:
        check_least(1, ratio=self.ratio)
        check_sizes(epochs=self.epochs, measure_every=self.measure_every)
        check_least(0, learning_rate=self.learning_rate, share=self.share, rank_epochs=self.rank_epochs)
        if self.rank_epochs != int(self.rank_epochs):
            raise SettingsError(f"rank_epochs is {self.rank_epochs}: expected a whole number")
        if self.rank_ratio is not None and not 1 < self.rank_ratio < self.ratio:
            raise SettingsError(
                f"rank_ratio is {self.rank_ratio}: expected more than 1 and less than the target ratio, {self.ratio}"
            )


@dataclass(frozen=True)
class Result:
    """What a fine-tuning gave: bytes of exact weights and file, and the BLEU of both on the validation text."""

    path: Path
    exact_bytes: int
    size: int
    exact_bleu: float
    bleu: float


def finetune(checkpoint: Path, data: ParallelText, settings: Settings, output: Path) -> Result:
    """Fine-tune, export, and measure the file that was read back.

    Args:
        checkpoint: a checkpoint or a compressed file of a recipe.
        data: the text, with the vocabularies of the checkpoint.
        settings: how to train.
        output: folder of the new checkpoint and its compressed file.
    """
    module = load_translator(checkpoint)
    exact_bleu = bleu(module, data)
    data.setup("fit")
    exact, teacher = exact_bytes(Weights.from_module(module)), None
    if settings.rank_ratio is not None:
        teacher = deepcopy(module.network)
        factorize(module, target_ratio=settings.rank_ratio, calibration=TrainingText.of(data))
        if settings.rank_epochs:
            _train(module, data, settings, settings.rank_epochs, output, [_distill(settings, teacher)])
    quantize = QuantizeDuringTraining(
        calibration=TrainingText.of(data),
        target_ratio=settings.ratio * exact_bytes(Weights.from_module(module)) / exact,
        measure_every=settings.measure_every,
    )
    save = ModelCheckpoint(output, filename=NAME, enable_version_counter=False)
    export = CompressCheckpoint("trained", on_error="raise")
    _train(module, data, settings, settings.epochs, output, [quantize, _distill(settings, teacher), export, save])
    path = output / f"{NAME}.compressed.safetensors"
    return Result(path, exact, path.stat().st_size, exact_bleu, bleu(load_translator(path), data))


def _distill(settings: Settings, teacher: Network | None) -> Distill:
    return Distill("network", teacher=teacher, share=settings.share, mask=is_word)


def _train(
    module: Translation,
    data: ParallelText,
    settings: Settings,
    epochs: int,
    output: Path,
    callbacks: list[Callback],
) -> None:
    """Train on for so many passes over the text; only callbacks store files."""
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=callbacks,
        default_root_dir=output,
        logger=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        enable_model_summary=False,
    )
    module.learning_rate, module.betas = settings.learning_rate, (0.9, 0.999)
    module.rate_factor = Cosine(epochs * len(data.train_dataloader()))
    trainer.fit(module.train(), data)


def is_word(batch: Batch) -> Tensor:
    """``[batch, length]``, bool: the target positions that are no padding."""
    return batch.target != PAD


def bleu(module: Translation, data: ParallelText) -> float:
    """BLEU of greedy translations of the validation text."""
    lines, references = data.text("valid")
    metric = Bleu(tokenize=module.bleu_tokenize)
    metric.add(module.translate(lines, beam=1), references)
    return float(metric.compute())


def table(result: Result) -> Table:
    """The exact weights and the file, one below the other."""
    out = Table(title="After training with compressed weights")
    for heading in ("weights", "bytes", "ratio", "BLEU"):
        out.add_column(heading, justify="left" if heading == "weights" else "right")
    out.add_row("exact", f"{result.exact_bytes:,}", "1.00×", f"{result.exact_bleu:.2f}")
    ratio = result.exact_bytes / result.size
    out.add_row(str(result.path), f"{result.size:,}", f"{ratio:.2f}×", f"{result.bleu:.2f}")
    return out


def main(arguments: Sequence[str]) -> None:
    """``finetune``: train, export, and print what came out."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes finetune",
        description="Train a trained model on with compressed weights, until its file has the bytes asked for.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help=".ckpt or compressed file of a recipe")
    parser.add_argument("--folder", required=True, help="folder of train.*, valid.* in both languages")
    parser.add_argument("--source", required=True, help="ending of the source files, such as en")
    parser.add_argument("--target", required=True, help="ending of the target files, such as de")
    parser.add_argument("--target-ratio", type=float, required=True, help="exact bytes over bytes of the file")
    parser.add_argument(
        "--rank-ratio",
        type=float,
        help="exact bytes over those of factors of low rank to start with; for a target of 40 or more take 2",
    )
    parser.add_argument("--rank-epochs", type=int, help="passes with exact factors before the others; default 1")
    parser.add_argument("--output", type=Path, default=Path("finetuned"), help="folder of the results")
    parser.add_argument("--epochs", type=int, default=Settings.epochs)
    parser.add_argument("--learning-rate", type=float, default=Settings.learning_rate)
    parser.add_argument("--tokens", type=int, default=2048, help="size of a training batch")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.rank_epochs is not None and options.rank_ratio is None:
        parser.error("--rank-epochs is the training of factors: give --rank-ratio too, such as --rank-ratio 2")
    settings = Settings(
        options.target_ratio,
        options.epochs,
        options.learning_rate,
        rank_ratio=options.rank_ratio,
        rank_epochs=Settings.rank_epochs if options.rank_epochs is None else options.rank_epochs,
    )
    seed_everything(options.seed, verbose=False)
    data = ParallelText(
        options.folder,
        options.source,
        options.target,
        test=None,
        tokens=options.tokens,
        vocabularies=str(options.checkpoint),
        seed=options.seed,
    )
    Console(highlight=False).print(table(finetune(options.checkpoint, data, settings, options.output)))
