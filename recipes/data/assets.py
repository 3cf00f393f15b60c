"""Data that translation needs besides the weights: both vocabularies and the text settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch

from lightning_compress.archive import Archive, is_archive
from recipes.data.segment import Segmentation, segmenter
from recipes.data.vocabulary import Vocabulary
from recipes.errors import SettingsError, VocabularyError

SOURCE_ASSET = "source_vocabulary.txt"
TARGET_ASSET = "target_vocabulary.txt"
TEXT_ASSET = "text.json"
RECORD = "recipe"  # where a checkpoint holds the class path and the assets


@dataclass(frozen=True)
class TextSettings:
    """How a line becomes words; :class:`recipes.data.parallel_text.ParallelText` explains the fields."""

    source_segmentation: Segmentation = "spaces"
    target_segmentation: Segmentation = "spaces"
    lowercase: bool = False

    def __post_init__(self) -> None:
        segmenter(self.source_segmentation)
        segmenter(self.target_segmentation)
        if not isinstance(self.lowercase, bool):
            raise SettingsError(f"lowercase is {self.lowercase!r}: expected true or false")

    def cut_source(self, lines: Iterable[str]) -> list[list[str]]:
        """Words of each source line."""
        return self._cut(lines, self.source_segmentation)

    def cut_target(self, lines: Iterable[str]) -> list[list[str]]:
        """Words of each target line."""
        return self._cut(lines, self.target_segmentation)

    def _cut(self, lines: Iterable[str], segmentation: Segmentation) -> list[list[str]]:
        cut = segmenter(segmentation)
        return [cut(line.lower() if self.lowercase else line) for line in lines]


@dataclass(frozen=True)
class Vocabularies:
    """Both vocabularies with their :class:`TextSettings`."""

    source: Vocabulary
    target: Vocabulary
    settings: TextSettings

    def check_sizes(self, source: int | None, target: int | None) -> None:
        """Compare with the numbers of words that a network was made for; None fits all.

        Raises:
            VocabularyError: if they differ.
        """
        found = (len(self.source), len(self.target))
        expected = (found[0] if source is None else source, found[1] if target is None else target)
        if found != expected:
            raise VocabularyError(
                f"the vocabularies have {found[0]:,} source and {found[1]:,} target words, the network has "
                f"{expected[0]:,} and {expected[1]:,}: use the vocabularies the network was trained with"
            )

    def to_assets(self) -> dict[str, bytes]:
        """Named bytes that travel with the weights; :meth:`from_assets` reads them."""
        settings = json.dumps(asdict(self.settings), sort_keys=True).encode("utf-8")
        return {
            SOURCE_ASSET: self.source.to_bytes(),
            TARGET_ASSET: self.target.to_bytes(),
            TEXT_ASSET: settings,
        }

    @classmethod
    def from_assets(cls, assets: Mapping[str, bytes], *, origin: str) -> Vocabularies:
        """Read what :meth:`to_assets` gave; ``origin`` names the file in errors.

        Raises:
            VocabularyError: if an asset is missing or malformed.
        """
        missing = [name for name in (SOURCE_ASSET, TARGET_ASSET, TEXT_ASSET) if name not in assets]
        if missing:
            raise VocabularyError(
                f"{origin} holds no {', '.join(missing)}, so it cannot translate: expected a file that was "
                "written while a translation recipe trained, with its vocabularies attached"
            )
        try:
            settings = TextSettings(**json.loads(assets[TEXT_ASSET]))
        except (TypeError, ValueError) as error:
            raise VocabularyError(f"{origin}: {TEXT_ASSET} is malformed ({error})") from error
        source, target = (
            Vocabulary.from_bytes(assets[name], f"{origin}, {name}") for name in (SOURCE_ASSET, TARGET_ASSET)
        )
        return cls(source, target, settings)


def read_vocabularies(path: str | PathLike[str]) -> Vocabularies:
    """Vocabularies of a compressed file or of a checkpoint.

    Raises:
        VocabularyError: if the file holds none, or cannot be read.
    """
    assets = Archive.open(path).assets() if is_archive(path) else record_of(read_checkpoint(path)).get("assets", {})
    return Vocabularies.from_assets(assets, origin=fspath(path))


def record_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a recipe put into its checkpoint; nothing for the checkpoint of another program."""
    record = checkpoint.get(RECORD)
    return record if isinstance(record, Mapping) and isinstance(record.get("assets", {}), Mapping) else {}


def read_checkpoint(path: str | PathLike[str]) -> dict[str, Any]:
    """A Lightning checkpoint, on the CPU, without running any code it may hold.

    Raises:
        VocabularyError: if the file is missing or is no checkpoint.
    """
    if not is_zipfile(path):
        raise VocabularyError(
            f"{fspath(path)} is neither a compressed file nor a checkpoint{_fault(Path(path))}: give a .safetensors "
            "file or a .ckpt that a translation recipe wrote"
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError) as error:
        raise VocabularyError(f"{fspath(path)} is no checkpoint that can be read safely: {error}") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise VocabularyError(f"{fspath(path)} is no Lightning checkpoint: it holds no state_dict")
    return checkpoint


def _fault(path: Path) -> str:
    if not path.exists():
        return " (there is no such file)"
    if path.is_dir():
        return " (it is a folder)"
    return " (it is empty)" if not path.stat().st_size else ""
