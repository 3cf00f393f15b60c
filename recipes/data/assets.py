"""Data that translation needs besides the weights: both vocabularies and the text settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch

from lightning_compress.archive import Archive, is_archive
from lightning_compress.weights import ASSETS_KEY
from recipes.data.pieces import Pieces, join_pieces
from recipes.data.segment import PIECES, Segmentation, segmenter
from recipes.data.vocabulary import Vocabulary
from recipes.errors import SegmentationError, SettingsError, VocabularyError

_log = logging.getLogger(__name__)
SOURCE_ASSET = "source_vocabulary.txt"
TARGET_ASSET = "target_vocabulary.txt"
TEXT_ASSET = "text.json"
SOURCE_PIECES, TARGET_PIECES = "source_pieces.model", "target_pieces.model"  # where the segmentation is sentencepiece
RECORD = "recipe"  # where a checkpoint holds the class path; an earlier one holds the assets there too


@dataclass(frozen=True)
class TextSettings:
    """How a line becomes words, and words a line; :class:`recipes.data.parallel_text.ParallelText` explains the fields.

    ``source_pieces`` and ``target_pieces`` are the SentencePiece models of sides that are cut into pieces.
    """

    source_segmentation: Segmentation = "spaces"
    target_segmentation: Segmentation = "spaces"
    lowercase: bool = False
    source_pieces: Pieces | None = None
    target_pieces: Pieces | None = None

    def __post_init__(self) -> None:
        for name in (self.source_segmentation, self.target_segmentation):
            if name != PIECES:
                segmenter(name)
        if not isinstance(self.lowercase, bool):
            raise SettingsError(f"lowercase is {self.lowercase!r}: expected true or false")

    def cut_source(self, lines: Iterable[str]) -> list[list[str]]:
        """Words of each source line."""
        return self._cut(lines, self.source_segmentation, self.source_pieces)

    def cut_target(self, lines: Iterable[str]) -> list[list[str]]:
        """Words of each target line."""
        return self._cut(lines, self.target_segmentation, self.target_pieces)

    def cased(self, lines: Iterable[str]) -> list[str]:
        """The lines in the letter case of the training."""
        return [line.lower() if self.lowercase else line for line in lines]

    def join_target(self, words: Sequence[str]) -> str:
        """The line of the words of a translation: detokenized if they are pieces, else words apart by one space."""
        return join_pieces(words) if self.target_segmentation == PIECES else " ".join(words)

    def check_tokenizer(self, name: str) -> None:
        """Warn of the tokenizer ``none`` for BLEU of raw text."""
        if self.target_segmentation == PIECES and name == "none":
            _log.warning("bleu_tokenize is 'none', and translations in pieces are raw text: BLEU needs '13a' or 'zh'")

    def references(self, lines: Iterable[str]) -> list[str]:
        """Target lines as BLEU takes them: raw if translations are detokenized, else words apart by one space."""
        if self.target_segmentation == PIECES:
            return [" ".join(line.split()) for line in self.cased(lines)]
        return [" ".join(words) for words in self.cut_target(lines)]

    def _cut(self, lines: Iterable[str], segmentation: Segmentation, pieces: Pieces | None) -> list[list[str]]:
        if segmentation != PIECES:
            cut = segmenter(segmentation)
        elif pieces is not None:
            cut = pieces.cut
        else:
            raise SegmentationError("segmentation 'sentencepiece' needs a model: train one with ParallelText")
        return [cut(line) for line in self.cased(lines)]


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
        settings = {
            name: getattr(self.settings, name) for name in ("source_segmentation", "target_segmentation", "lowercase")
        }
        models = {SOURCE_PIECES: self.settings.source_pieces, TARGET_PIECES: self.settings.target_pieces}
        return {
            SOURCE_ASSET: self.source.to_bytes(),
            TARGET_ASSET: self.target.to_bytes(),
            TEXT_ASSET: json.dumps(settings, sort_keys=True).encode("utf-8"),
            **{name: pieces.model for name, pieces in models.items() if pieces is not None},
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
            source_pieces, target_pieces = (
                Pieces(assets[name]) if name in assets else None for name in (SOURCE_PIECES, TARGET_PIECES)
            )
            settings = TextSettings(
                **json.loads(assets[TEXT_ASSET]), source_pieces=source_pieces, target_pieces=target_pieces
            )
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
    assets = Archive.open(path).assets() if is_archive(path) else assets_of(read_checkpoint(path))
    return Vocabularies.from_assets(assets, origin=fspath(path))


def record_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a recipe put into its checkpoint; nothing for the checkpoint of another program."""
    record = checkpoint.get(RECORD)
    return record if isinstance(record, Mapping) else {}


def assets_of(checkpoint: Mapping[str, Any]) -> Mapping[str, bytes]:
    """The assets in a checkpoint of a recipe; none for the checkpoint of another program."""
    found = checkpoint.get(ASSETS_KEY) or record_of(checkpoint).get(ASSETS_KEY)  # in the record: earlier checkpoints
    return found if isinstance(found, Mapping) else {}


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
