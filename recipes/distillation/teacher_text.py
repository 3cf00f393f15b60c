"""Sequence-level distillation: a training text whose targets are the translations of a teacher.

Y. Kim and A. M. Rush 2016, "Sequence-Level Knowledge Distillation", section 3.2: the student trains on the output of
the teacher's beam search. The text of the teacher is simpler than people's, so a small model learns it better.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from recipes.checks import check_sizes
from recipes.data.text_files import read_parallel
from recipes.errors import TextError
from recipes.translate import load_translator


@dataclass(frozen=True)
class TeacherText:
    """Where the text of a teacher comes from and goes to.

    Attributes:
        folder: of ``train.*``, and of the other files, which are copied.
        source: ending of the source files, such as ``en``.
        target: ending of the target files.
        output: a folder that has no such files yet.
        beam: translations kept in the search; None for the teacher's ``test_beam``.
        batch_size: sentences translated together.

    Raises:
        SettingsError: if a number is below 1.
        TextError: if there is a text in ``output`` already.
    """

    folder: Path
    source: str
    target: str
    output: Path
    beam: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_sizes(batch_size=self.batch_size, **({} if self.beam is None else {"beam": self.beam}))
        for ending in self.endings:
            if (self.output / f"train.{ending}").exists():
                raise TextError(f"{self.output / f'train.{ending}'} exists already: choose another folder as output")

    @property
    def endings(self) -> tuple[str, str]:
        """Source and target."""
        return self.source, self.target


def write_teacher_text(checkpoint: Path, text: TeacherText) -> int:
    """Write the source lines of the training text, and the teacher's translation of each; copy the other files.

    A source line without words has a translation without words, which training leaves out.

    Args:
        checkpoint: ``.ckpt`` or compressed file of a recipe, the teacher.
        text: what is translated, and where it goes.

    Returns:
        how many translations equal the reference.

    Raises:
        TextError: if a file is missing or is no text.
        ScoreError: if scores are NaN or infinite; the line is named.
    """
    paths = [text.folder / f"train.{ending}" for ending in text.endings]
    sources, references = read_parallel(*paths)
    teacher = load_translator(checkpoint)
    translations = teacher.translate(sources, beam=text.beam, batch_size=text.batch_size, origin=str(paths[0]))
    text.output.mkdir(parents=True, exist_ok=True)
    for ending in text.endings:
        for path in sorted(text.folder.glob(f"*.{ending}")):
            if path.stem != "train" and not (text.output / path.name).exists():
                shutil.copyfile(path, text.output / path.name)
    for ending, lines in zip(text.endings, (sources, translations), strict=True):
        path = text.output / f"train.{ending}"
        partial = path.with_name(f"{path.name}.partial")
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        partial.replace(path)
    return sum(map(str.__eq__, translations, references))


def main(arguments: Sequence[str]) -> None:
    """``teacher-text``: write the text, and say how often the teacher repeats the reference."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes teacher-text",
        description="Write a training text whose targets are a trained model's translations, for a smaller student.",
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help=".ckpt or compressed file of a recipe")
    parser.add_argument("--folder", type=Path, required=True, help="folder of train.* in both languages")
    parser.add_argument("--source", required=True, help="ending of the source files, such as en")
    parser.add_argument("--target", required=True, help="ending of the target files, such as de")
    parser.add_argument("--output", type=Path, required=True, help="folder of the new text")
    parser.add_argument("--beam", type=int, help="translations kept in the search (default: as trained)")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences translated together (default: 64)")
    options = parser.parse_args(arguments)
    text = TeacherText(options.folder, options.source, options.target, options.output, options.beam, options.batch_size)
    same = write_teacher_text(options.checkpoint, text)
    Console(highlight=False).print(
        f"{text.output} has the teacher's translations as train.{text.target}; {same:,} of them equal the reference"
    )
