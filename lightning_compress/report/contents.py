"""Collects the contents of a report: one compressed file, or all files of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lightning_compress.archive import Archive, Entry
from lightning_compress.errors import FormatError
from lightning_compress.report.exact_weights import Checkpoints
from lightning_compress.report.file_statistics import FileStatistics, file_statistics
from lightning_compress.report.records.sensitivity import SensitivityRecord
from lightning_compress.report.records.training import NAME, TrainingCurves
from lightning_compress.report.records.translations import TranslationRecord

RecordT = TypeVar("RecordT")
OnTensor = Callable[[Entry], None]


@dataclass(frozen=True)
class UnreadableFile:
    """A damaged or foreign file, which the report leaves out, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ReportContents:
    """Everything that a report shows.

    Attributes:
        source: the requested file or folder.
        files: the compressed files; files of equal content appear once.
        trainings, sensitivities, translations: records of the run; empty for a single file.
        left_out: damaged and foreign files.
    """

    source: Path
    files: tuple[FileStatistics, ...]
    trainings: tuple[TrainingCurves, ...] = ()
    sensitivities: tuple[SensitivityRecord, ...] = ()
    translations: tuple[TranslationRecord, ...] = ()
    left_out: tuple[UnreadableFile, ...] = ()


def collect(source: Path, on_tensor: OnTensor | None = None) -> ReportContents:
    """Read a file, or all files of a run; damaged files are left out and listed.

    Args:
        source: a compressed file, or a folder, which is searched recursively.
        on_tensor: called after each decoded tensor, for progress.

    Raises:
        FormatError: the single file, or every file in the folder, is damaged or foreign.
        FileNotFoundError: the file does not exist, or the folder contains nothing to report.
    """
    if not source.is_dir():
        return ReportContents(
            source, (file_statistics(source, Archive.open(source), Checkpoints(source.parent), on_tensor),)
        )
    left_out: list[UnreadableFile] = []
    contents = ReportContents(
        source,
        files=tuple(_all_statistics(source, left_out, on_tensor)),
        trainings=_read_all(source, NAME, TrainingCurves.read, left_out),
        sensitivities=_read_all(source, "*sensitivity.json", SensitivityRecord.read, left_out),
        translations=_read_all(source, "*translations.json", TranslationRecord.read, left_out),
    )
    contents = replace(contents, left_out=tuple(left_out))
    if contents.files or contents.trainings or contents.sensitivities or contents.translations:
        return contents
    if left_out:
        raise FormatError(f"nothing in {source} can be read. {left_out[0].reason}")
    raise FileNotFoundError(
        f"there is no compressed file in {source} or below it: give the folder that a run with CompressCheckpoint has "
        "written to, or one file"
    )


def count_elements(source: Path) -> int:
    """Number of weights to decode, which determines the time that a report takes."""
    total = 0
    for path in _files(source, "*.safetensors") if source.is_dir() else [source]:
        with contextlib.suppress(FormatError, OSError):
            total += sum(entry.elements for entry in Archive.open(path).manifest.entries)
    return total


def _all_statistics(
    folder: Path, left_out: list[UnreadableFile], on_tensor: OnTensor | None
) -> Iterator[FileStatistics]:
    """The valid files, each with the paths of its copies."""
    known: dict[tuple[object, ...], FileStatistics] = {}
    checkpoints = Checkpoints(folder)
    for path in _files(folder, "*.safetensors"):
        with _leaving_out(path, left_out):
            archive = Archive.open(path)
            content = (archive.nbytes, *(entry.coded_crc32 for entry in archive.manifest.entries))
            if content in known:
                archive.verify(on_tensor=on_tensor)
                known[content] = replace(known[content], copies=(*known[content].copies, path))
            else:
                known[content] = file_statistics(path, archive, checkpoints, on_tensor)
    yield from known.values()


def _read_all(
    folder: Path, pattern: str, read: Callable[[Path], RecordT], left_out: list[UnreadableFile]
) -> tuple[RecordT, ...]:
    records = []
    for path in _files(folder, pattern):
        with _leaving_out(path, left_out):
            records.append(read(path))
    return tuple(records)


@contextlib.contextmanager
def _leaving_out(path: Path, left_out: list[UnreadableFile]) -> Iterator[None]:
    """If the block cannot read a file, add the file to the list and continue."""
    try:
        yield
    except (FormatError, OSError) as error:
        reason = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        left_out.append(UnreadableFile(path, reason if str(path) in reason else f"{path}: {reason}"))


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if not path.is_dir())
