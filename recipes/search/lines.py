"""Translate lines of text, or one batch; an error names the sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from recipes.checks import check_sizes
from recipes.data.assets import Vocabularies
from recipes.data.batching import Batch, pad
from recipes.data.exchanged_languages import warn_if_exchanged
from recipes.data.reserved_words import warn_of_reserved_words
from recipes.data.vocabulary import EOS
from recipes.errors import ScoreError, TextError

Search = Callable[[Tensor], list[str]]  # ids of some sentences, [batch, source_length] → their translations


def text_of(source: Tensor, found: Tensor, vocabularies: Vocabularies) -> list[str]:
    """The translations as text; a source without words has a translation without words.

    Args:
        source: ``[batch, source_length]`` ids.
        found: ``[batch, length]`` ids of the translations.
        vocabularies: of both sides.
    """
    texts = [vocabularies.settings.join_target(vocabularies.target.decode(row)) for row in found.tolist()]
    return ["" if empty else text for text, empty in zip(texts, (source[:, 0] == EOS).tolist(), strict=True)]


def translate_batch(batch: Batch, number: int, search: Search) -> list[str]:
    """Translations of a batch of a text.

    Raises:
        ScoreError: if scores are NaN or infinite; ``number``, from 0, and the reference are named.
    """
    try:
        return search(batch.source)
    except ScoreError as error:
        row = error.sentence
        place = f"batch {number + 1}, sentence {row + 1} (its reference: {batch.references[row]!r:.80})"
        raise ScoreError.at(place, sentence=row, word=error.word) from error


def translate_lines(
    lines: Sequence[str],
    vocabularies: Vocabularies,
    search: Search,
    *,
    batch_size: int,
    origin: str | None = None,
) -> list[str]:
    """One translation for each line, on the same place; a line without words has a translation without words.

    Args:
        lines: one sentence each.
        vocabularies: how lines become ids.
        search: translates a batch of ids.
        batch_size: sentences translated together.
        origin: name of the text; with it, reserved words in the text are reported.

    Raises:
        TextError: if ``lines`` is one text instead of several lines, or a line is no text.
        SettingsError: if ``batch_size`` is below 1.
        ScoreError: if scores are NaN or infinite; the line is named.
    """
    check_sizes(batch_size=batch_size)
    if isinstance(lines, str):
        raise TextError(f"lines is the text {lines!r:.60}: expected a list of lines")
    other = next((k for k, line in enumerate(lines) if not isinstance(line, str)), None)
    if other is not None:
        raise TextError(f"line {other + 1} is a {type(lines[other]).__name__}: expected text")
    cut = vocabularies.settings.cut_source(lines)
    if origin is not None:
        warn_of_reserved_words(cut, origin)
        warn_if_exchanged(cut, vocabularies.source, vocabularies.target, origin, "source")
    order = sorted((k for k, words in enumerate(cut) if words), key=lambda k: len(cut[k]))
    out = [""] * len(cut)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        try:
            found = search(pad([[*vocabularies.source.encode(cut[k]), EOS] for k in rows]))
        except ScoreError as error:
            line = rows[error.sentence]
            raise ScoreError.at(f"{origin or 'the text'}, line {line + 1}", sentence=line, word=error.word) from error
        for k, text in zip(rows, found, strict=True):
            out[k] = text
    return out
