"""The command line of the recipes: ``python -m recipes COMMAND``; ``USAGE`` lists the commands."""

from __future__ import annotations

import logging
import sys
from os import PathLike
from pathlib import Path
from typing import SupportsFloat

from lightning_utilities.core.rank_zero import rank_zero_info
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from rich.console import Console

from lightning_compress import CompressCheckpoint, CompressionError
from recipes import distillation, finetune, sizes, translate
from recipes.data.parallel_text import ParallelText
from recipes.errors import VocabularyError
from recipes.training.earlier_files import set_aside
from recipes.translation import Translation

_log = logging.getLogger(__name__)
USAGE = """\
usage: python -m recipes COMMAND …

  fit          --config FILE.yaml [--data.folder FOLDER …]    train
  validate     --config FILE.yaml --ckpt_path FILE            loss and BLEU on the validation text
  test         --config FILE.yaml --ckpt_path FILE            loss and BLEU on the test text
  finetune     --checkpoint FILE --target-ratio N …           train on with compressed weights, to a file of a size
  teacher-text --checkpoint FILE --folder FOLDER …            a training text of a model's translations, for a student
  translate    FILE < input.txt                               translate lines with a compressed file alone
  sizes                                                       weights of the paper's models, beside the paper's counts
  demo         [--output FOLDER]                              train on a generated language, compress, compare
  paper        NAME --checkpoint FILE --data FOLDER …         the reference paper's experiments

FILE is a compressed .safetensors file or a .ckpt. Each command has a --help of its own."""


TRAINING = ("fit", "validate", "test")
CHECKPOINT_NAMES = ("best", "last", "hpc", "registry")  # Lightning finds the file itself


class RecipeCLI(LightningCLI):
    """Lightning's command line with the recipes' three fixed callbacks and with sizes taken from the text."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks; let the vocabularies decide the network's table sizes."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(CompressCheckpoint, "compress")
        for callback in ("checkpoint", "early_stopping"):
            parser.set_defaults({f"{callback}.monitor": "val_bleu", f"{callback}.mode": "max"})
        parser.set_defaults({"checkpoint.enable_version_counter": False})  # a folder has one best file
        for name in ("source_words", "target_words"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """``fit``, ``validate`` and ``test``; translating needs no trainer."""
        commands = LightningCLI.subcommands()
        return {name: commands[name] for name in TRAINING}

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse a list of arguments from wherever it comes, without Lightning's warning that it is given one."""
        if isinstance(args, list):
            self.config = parser.parse_args(args)
        else:
            super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Keep the configuration as given: sizes come from the vocabularies, and a file may not be a .ckpt."""

    def before_instantiate_classes(self) -> None:
        """Take the vocabularies from the file whose weights are used, so that word ids mean the same."""
        config = self.config[self.config.subcommand]
        check_checkpoint(config.ckpt_path)
        if config.data.vocabularies is None and config.ckpt_path and Path(config.ckpt_path).is_file():
            config.data.vocabularies = str(config.ckpt_path)

    def before_fit(self) -> None:
        """Set aside what an earlier training left in the folder, unless it is resumed."""
        folder = next((each.dirpath for each in self._saving() if each.dirpath), None)
        resumes = self.config[self.config.subcommand].ckpt_path is not None
        if folder is None or resumes or ":" in str(folder) or not self.trainer.is_global_zero:
            return
        earlier = set_aside(Path(folder))
        if earlier is not None:
            rank_zero_info(f"the files of an earlier training in {folder} are in {earlier} now")

    def after_fit(self) -> None:
        """Say so if no translation was right at any time."""
        best = [each.best_model_score for each in self._saving() if each.monitor == "val_bleu"]
        self._tell_zero("val_bleu", max((float(score) for score in best if score is not None), default=None))

    def after_validate(self) -> None:
        """Say so if BLEU is 0."""
        self._tell_zero("val_bleu", self.trainer.callback_metrics.get("val_bleu"))

    def after_test(self) -> None:
        """Say so if BLEU is 0."""
        self._tell_zero("test_bleu", self.trainer.callback_metrics.get("test_bleu"))

    def _saving(self) -> list[ModelCheckpoint]:
        return [each for each in self.trainer.checkpoint_callbacks if isinstance(each, ModelCheckpoint)]

    def _tell_zero(self, name: str, bleu: SupportsFloat | None) -> None:
        data = self.config[self.config.subcommand].data
        if bleu is not None and float(bleu) == 0 and self.trainer.is_global_zero:
            _log.warning(
                "%s is 0: no translation has four words in a row in common with its reference. Train longer; or are "
                "data.source (%s) and data.target (%s) exchanged, or was the text prepared in another way than that of "
                "the training?",
                name,
                data.source,
                data.target,
            )


def main(arguments: list[str] | None = None) -> None:
    """Run one command; an error of ours ends it with one line and exit status 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        Console(highlight=False, soft_wrap=True).print(USAGE, markup=False)
        return
    try:
        if arguments[0] == "translate":
            translate.main(arguments[1:])
        elif arguments[0] == "finetune":
            finetune.main(arguments[1:])
        elif arguments[0] == "teacher-text":
            distillation.main(arguments[1:])
        elif arguments[0] == "sizes":
            sizes.main(arguments[1:])
        elif arguments[0] in TRAINING or arguments[0].startswith("-"):
            run_trainer(arguments)
        else:
            sys.exit(f"error: there is no command {arguments[0]!r}\n\n{USAGE}")
    except (CompressionError, OSError, ValueError) as error:
        message = message_of(error)
        if message is None:
            raise
        sys.exit(f"error: {message}")


def message_of(error: BaseException) -> str | None:
    """The one line for an error of ours, of the file system, or for one that the argument parser wrapped; else None."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    if isinstance(error, CompressionError):
        return str(error)
    return None if error.__cause__ is None else message_of(error.__cause__)


def check_checkpoint(path: str | PathLike[str] | None) -> None:
    """Check that ``--ckpt_path`` names a file or folder that exists; URLs and Lightning's own names are not checked.

    Raises:
        VocabularyError: if there is none.
    """
    name = "" if path is None else str(path)
    if name in ("", *CHECKPOINT_NAMES) or ":" in name or Path(name).exists():
        return
    raise VocabularyError(f"--ckpt_path is {name}, and there is no such file: give a .ckpt or a compressed file")


def run_trainer(arguments: list[str]) -> RecipeCLI:
    """``fit``, ``validate`` or ``test`` with these arguments."""
    return RecipeCLI(
        Translation,
        ParallelText,
        subclass_mode_model=True,
        auto_configure_optimizers=False,
        seed_everything_default=1,
        save_config_callback=None,
        trainer_defaults={"enable_progress_bar": sys.stdout.isatty()},
        parser_kwargs={"prog": "python -m recipes"},
        args=arguments,
    )
