"""The verdict of a report: which file to use, how small it is, and what it loses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from lightning_compress.report.contents import ReportContents
from lightning_compress.report.file_statistics import FileStatistics
from lightning_compress.report.records.training import TrainingCurves
from lightning_compress.report.records.translations import TranslationRecord
from lightning_compress.report.scores import Scores

_LITTLE = 0.01  # of the score: a drop that nobody was asked about, and that is recommended nevertheless


@dataclass(frozen=True)
class MeasuredFile:
    """A file and the scores that were measured of it, NaN where none were.

    Attributes:
        file: the file.
        measure: name of the score.
        scores: of the file.
        exact: what the run logged of the exact weights at the step of the file.
    """

    file: FileStatistics
    measure: str
    scores: Scores
    exact: float

    @property
    def is_measured(self) -> bool:
        """Whether the score of the file itself is known."""
        return not math.isnan(self.scores.after)

    @property
    def share_lost(self) -> float:
        """The drop as a share of the score; NaN if it is not known."""
        return self.scores.drop / abs(self.scores.before) if self.scores.before else math.nan


@dataclass(frozen=True)
class Verdict:
    """The file that a report recommends.

    Attributes:
        best: the file with its scores.
        reason: why it is recommended: the end of the sentence "It is …".
        checkpoint_bytes: size of the exact checkpoint; NaN if it is not in the folder.
    """

    best: MeasuredFile
    reason: str
    checkpoint_bytes: float

    @property
    def model(self) -> str:
        """Name of the class of the model; empty if the file does not name it."""
        return (self.best.file.manifest.class_path or "").rpartition(".")[2]

    @property
    def date(self) -> str:
        """Day on which the file was written, in UTC: ``29 November 2026``."""
        written = datetime.fromtimestamp(self.best.file.path.stat().st_mtime, timezone.utc)
        return f"{written.day} {written:%B %Y}"

    @property
    def checkpoint_ratio(self) -> float:
        """Bytes of the exact checkpoint over bytes of the file."""
        return self.checkpoint_bytes / self.best.file.report.file_bytes


def measured_files(contents: ReportContents) -> list[MeasuredFile]:
    """The files with their scores, in the order of the contents."""
    return [_measured(file, contents.translations, contents.trainings) for file in contents.files]


def verdict_of(files: Sequence[MeasuredFile]) -> Verdict | None:
    """The recommended file; None if there is no file.

    Measured files go before others. Of files that keep the limit of a search, else of those that lose at most 1 % of
    the score, the smallest is recommended; else the one of the highest score. If nothing was measured it is the file
    called best, else the newest.
    """
    if not files:
        return None
    best, reason = _choice(files)
    path = best.file.exact.checkpoint
    size = math.nan if path is None or not path.is_file() else float(path.stat().st_size)
    return Verdict(best, reason, size)


def _choice(files: Sequence[MeasuredFile]) -> tuple[MeasuredFile, str]:
    def size(each: MeasuredFile) -> int:
        return each.file.report.file_bytes

    if promised := [each for each in files if each.is_measured and not math.isnan(each.scores.assured)]:
        return min(promised, key=size), "the smallest file that keeps the limit of the search"
    measured = [each for each in files if each.is_measured]
    if little := [each for each in measured if each.share_lost <= _LITTLE]:
        return min(little, key=size), "the smallest file that loses at most 1 % of the score"
    if measured:
        return max(measured, key=lambda each: each.scores.after), "the file with the highest score"
    if len(files) == 1:
        return files[0], "the only file; its score was not measured"
    if named := [each for each in files if any(name.startswith("best") for name in each.file.names)]:
        return named[0], "the file of the best checkpoint; its score was not measured"
    newest = max(files, key=lambda each: (-math.inf if math.isnan(each.file.step) else each.file.step, -size(each)))
    return newest, "the file of the newest checkpoint; no score was measured"


def _measured(
    file: FileStatistics, translations: Sequence[TranslationRecord], trainings: Sequence[TrainingCurves]
) -> MeasuredFile:
    scores, exact = Scores.of(file.manifest.metrics), math.nan
    measure = scores.measure or "score"
    for training in trainings:
        exact = next((value for step, value in training.exact if step in (file.step, file.step - 1)), exact)
        measure = training.metric if training.metric and math.isnan(scores.after) else measure
    same = [record for record in translations if record.compared and record.step == file.step]
    if math.isnan(scores.after) and same:
        return MeasuredFile(file, "BLEU", Scores.of_translations(same[0]), same[0].bleu[0])
    return MeasuredFile(file, measure, scores, exact)
