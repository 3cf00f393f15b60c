"""Pieces of words, by SentencePiece: raw text is cut into pieces, and pieces are joined to text again.

Byte-pair encoding (Sennrich et al. 2016) on raw sentences, with white space as a part of the pieces (Kudo and
Richardson 2018, https://aclanthology.org/D18-2012).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recipes.errors import SegmentationError

SPACE = "▁"  # how SentencePiece writes a space


@dataclass(frozen=True)
class Pieces:
    """A trained SentencePiece model.

    Args:
        model: its bytes, as SentencePiece writes them.
    """

    model: bytes

    @classmethod
    def train(cls, lines: Iterable[str], size: int, origin: str) -> Pieces:
        """The model of a text.

        Args:
            lines: one sentence each.
            size: number of pieces at most; a short text has fewer.
            origin: name of the text, for errors.

        Raises:
            SegmentationError: sentencepiece is not installed, or the text does not give a model.
        """
        model = io.BytesIO()
        try:
            _library().SentencePieceTrainer.train(
                sentence_iterator=iter(lines),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                num_threads=1,
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise SegmentationError(
                f"no {size:,} pieces could be made of {origin}: give more text, or another number of pieces ({error})"
            ) from error
        return cls(model.getvalue())

    def cut(self, line: str) -> list[str]:
        """``"a man"`` → ``["▁a", "▁m", "an"]``."""
        found: list[str] = self._processor.encode(line, out_type=str)
        return found

    @cached_property
    def _processor(self) -> Any:
        try:
            return _library().SentencePieceProcessor(model_proto=self.model)
        except RuntimeError as error:
            raise SegmentationError(f"the SentencePiece model cannot be read: {error}") from error


def join_pieces(pieces: Sequence[str]) -> str:
    """``["▁a", "▁m", "an"]`` → ``"a man"``; needs no library."""
    return " ".join("".join(pieces).replace(SPACE, " ").split())


def _library() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise SegmentationError(
            "segmentation 'sentencepiece' needs the sentencepiece library: pip install 'lightning-compress[recipes]', "
            "or choose 'spaces'"
        ) from error
    return sentencepiece
