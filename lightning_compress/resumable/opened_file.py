"""The header of a checkpoint's file: what it is, and which file its differences refer to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from lightning_compress.archive import Archive, is_archive
from lightning_compress.errors import FormatError

KEY = "resumable"  # of what the metrics of a manifest say of a checkpoint
KINDS = ("same", "changed")  # of tensors that refer to the parent


@dataclass(frozen=True)
class Parent:
    """The file that differences refer to.

    Attributes:
        name: of the file, in the same folder.
        identity: a random number that the file has.
    """

    name: str
    identity: str


@dataclass(frozen=True, eq=False)
class ResumableFile:
    """An opened file.

    Attributes:
        path: where it is.
        archive: its content.
        identity: a random number that no other file has.
        parent: the file that its differences refer to; None if it is whole.
    """

    path: Path
    archive: Archive
    identity: str
    parent: Parent | None

    @classmethod
    def open(cls, path: Path) -> ResumableFile:
        """Read the header.

        Raises:
            FormatError: the file is no checkpoint of this kind.
        """
        return cls._of(path, Archive.open(path, deferred=True))

    @classmethod
    def find(cls, path: Path) -> ResumableFile | None:
        """Read the header; None where there is no checkpoint of this kind.

        Raises:
            FormatError: there is one, and what it says of itself is damaged.
        """
        archive = _checkpoint_archive(path)
        return None if archive is None else cls._of(path, archive)

    @classmethod
    def _of(cls, path: Path, archive: Archive) -> ResumableFile:
        record = archive.manifest.metrics.get(KEY)
        if not isinstance(record, dict) or not isinstance(record.get("identity"), str):
            raise FormatError(f"{path} holds weights for decoding, no checkpoint that a training can resume from")
        parent = record.get("parent")
        if parent is not None and not all(_are_texts(record.get(kind)) for kind in KINDS):
            raise FormatError(f"{path} does not say what changed since the file it refers to: it is damaged")
        known = isinstance(parent, dict) and all(isinstance(parent.get(name), str) for name in ("name", "identity"))
        if parent is not None and not known:
            raise FormatError(f"{path} does not say which file its differences refer to: it is damaged")
        return cls(path, archive, record["identity"], Parent(parent["name"], parent["identity"]) if parent else None)

    @property
    def record(self) -> Mapping[str, Any]:
        """What the manifest says of the checkpoint."""
        found: Mapping[str, Any] = self.archive.manifest.metrics[KEY]
        return found


def is_resumable(path: str | PathLike[str]) -> bool:
    """Whether a file is a checkpoint of this kind."""
    return _checkpoint_archive(path) is not None


def located(file: ResumableFile) -> ResumableFile:
    """The parent of a file, under its name or under that of a parent that was set aside.

    Raises:
        FormatError: it is missing, or another file has its name.
    """
    assert file.parent is not None
    name, identity = file.parent.name, file.parent.identity
    for path in (file.path.with_name(name), file.path.with_name(aside_name(identity))):
        found = ResumableFile.find(path)
        if found is not None and found.identity == identity:
            return found
    raise FormatError(
        f"{file.path} holds differences to {name}, which is not in its folder: move both together, or resume from a "
        "whole checkpoint"
    )


def aside_name(identity: str) -> str:
    """The name of a file that was deleted while others still refer to it."""
    return f".{identity}.parent"


def _checkpoint_archive(path: str | PathLike[str]) -> Archive | None:
    """The opened file, if it is a checkpoint of this kind."""
    if not is_archive(path):
        return None
    try:
        archive = Archive.open(path, deferred=True)
    except FormatError:
        return None
    return archive if KEY in archive.manifest.metrics else None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
