"""What there is to report: one file, or all that a run has left in its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from lightning_compress.archive import Archive, Entry
from lightning_compress.errors import FormatError
from lightning_compress.report.examine import Examined, examine
from lightning_compress.report.sensitivity import Sensitivity
from lightning_compress.report.training import NAME, Training
from lightning_compress.report.translations import Translations

FoundT = TypeVar("FoundT")
OnTensor = Callable[[Entry], None]


@dataclass(frozen=True)
class LeftOut:
    """A file that could not be taken, and why."""

    path: Path
    why: str


@dataclass(frozen=True)
class Findings:
    """What a report is made of.

    Attributes:
        source: the file or folder that was asked for.
        files: the compressed files, those of equal content once.
        trainings, sensitivities, translations: of the run; none for a single file.
        left_out: damaged and foreign files.
    """

    source: Path
    files: tuple[Examined, ...]
    trainings: tuple[Training, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    translations: tuple[Translations, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def find(source: Path, on_tensor: OnTensor | None = None) -> Findings:
    """Read a file, or all files of a run: what is damaged is left out, and named.

    Args:
        source: a compressed file, or a folder; folders below it count.
        on_tensor: called after each decoded tensor, for progress.

    Raises:
        FormatError: a single file that is damaged or none of ours; a folder in which all are.
        FileNotFoundError: there is no such file, or nothing to report in the folder.
    """
    if not source.is_dir():
        return Findings(source, (examine(source, Archive.open(source), on_tensor),))
    left_out: list[LeftOut] = []
    found = Findings(
        source,
        files=tuple(_examined(source, left_out, on_tensor)),
        trainings=_read_all(source, NAME, Training.read, left_out),
        sensitivities=_read_all(source, "*sensitivity.json", Sensitivity.read, left_out),
        translations=_read_all(source, "*translations.json", Translations.read, left_out),
    )
    found = replace(found, left_out=tuple(left_out))
    if found.files or found.trainings or found.sensitivities or found.translations:
        return found
    if left_out:
        raise FormatError(f"nothing in {source} can be read. {left_out[0].why}")
    raise FileNotFoundError(
        f"there is no compressed file in {source} or below it: give the folder that a run with CompressCheckpoint has "
        "written to, or one file"
    )


def elements_of(source: Path) -> int:
    """How many weights there are to decode, which is what takes the time."""
    total = 0
    for path in _files(source, "*.safetensors") if source.is_dir() else [source]:
        with contextlib.suppress(FormatError, OSError):
            total += sum(entry.elements for entry in Archive.open(path).manifest.entries)
    return total


def _examined(folder: Path, left_out: list[LeftOut], on_tensor: OnTensor | None) -> Iterator[Examined]:
    """The sound files, with the names of their copies."""
    known: dict[tuple[object, ...], Examined] = {}
    for path in _files(folder, "*.safetensors"):
        with _leaving_out(path, left_out):
            archive = Archive.open(path)
            content = (archive.nbytes, *(entry.coded_crc32 for entry in archive.manifest.entries))
            if content in known:
                archive.verify(on_tensor=on_tensor)
                known[content] = replace(known[content], copies=(*known[content].copies, path))
            else:
                known[content] = examine(path, archive, on_tensor)
    yield from known.values()


def _read_all(
    folder: Path, pattern: str, read: Callable[[Path], FoundT], left_out: list[LeftOut]
) -> tuple[FoundT, ...]:
    found = []
    for path in _files(folder, pattern):
        with _leaving_out(path, left_out):
            found.append(read(path))
    return tuple(found)


@contextlib.contextmanager
def _leaving_out(path: Path, left_out: list[LeftOut]) -> Iterator[None]:
    """Note a file that cannot be taken, and go on."""
    try:
        yield
    except (FormatError, OSError) as error:
        why = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        left_out.append(LeftOut(path, why if str(path) in why else f"{path}: {why}"))


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if not path.is_dir())
