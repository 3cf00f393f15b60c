"""Translations by exact and by compressed weights, and what sacrebleu says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_compress.callbacks.arguments import check_texts
from lightning_compress.errors import CallbackError
from lightning_compress.report.records.word_differences import word_runs
from lightning_compress.runtime.cached import cached_property
from lightning_compress.search import Drop, Score, bleu_score, paired_drop

COLUMNS = ("source", "reference", "exact", "compressed")


@dataclass(frozen=True)
class Text:
    """A validation set.

    Attributes:
        sources: one sentence each.
        references: the translation of each.

    Raises:
        CallbackError: there are none, or not as many of the one as of the other.
    """

    sources: Sequence[str]
    references: Sequence[str]

    def __post_init__(self) -> None:
        for name in ("sources", "references"):
            check_texts(name, getattr(self, name), "sentences", ordered=True)
        if len(self.sources) == 0 or len(self.sources) != len(self.references):
            raise CallbackError(
                f"there are {len(self.sources)} sources and {len(self.references)} references: give one reference for "
                "each source, and at least one"
            )

    def first(self, sentences: int | None) -> Text:
        """The first sentences; all where it is None."""
        return Text(self.sources[:sentences], self.references[:sentences])


class Judge:
    """BLEU and chrF by sacrebleu, 0 to 100.

    Args:
        references: one for each sentence.
        tokenize: sacrebleu's tokenizer for BLEU.

    Raises:
        CallbackError: sacrebleu is not installed, or does not know the tokenizer.
    """

    def __init__(self, references: Sequence[str], tokenize: str) -> None:
        try:
            from sacrebleu.metrics.bleu import BLEU
            from sacrebleu.metrics.chrf import CHRF

            self._bleu, self._chrf = BLEU(tokenize=tokenize, force=True), CHRF()
        except ModuleNotFoundError as error:
            raise CallbackError("TranslationQuality needs sacrebleu: pip install sacrebleu") from error
        except Exception as error:
            raise CallbackError(f"sacrebleu does not take tokenize={tokenize!r}: {error}") from error
        self._references, self._tokenize = references, tokenize
        for metric in (self._bleu, self._chrf):
            metric.corpus_score([""], [[""]])  # a signature says how many references there were

    @property
    def signatures(self) -> tuple[str, str]:
        """What sacrebleu calls its BLEU and its chrF."""
        return str(self._bleu.get_signature()), str(self._chrf.get_signature())

    def bleu(self, translations: Sequence[str]) -> Score:
        """BLEU with the statistics of each sentence."""
        return bleu_score(translations, self._references, tokenize=self._tokenize)

    def chrf(self, translations: Sequence[str]) -> float:
        """chrF2."""
        return float(self._chrf.corpus_score(list(translations), [list(self._references)]).score)


@dataclass(frozen=True)
class Comparison:
    """One score of exact and of compressed weights, higher is better.

    Attributes:
        exact: that of the exact weights.
        compressed: that of the compressed ones; None where there are none.
    """

    exact: Score
    compressed: Score | None

    @cached_property
    def drop(self) -> Drop | None:
        """What compression loses, with its 95 % interval by paired bootstrap resampling."""
        return None if self.compressed is None else paired_drop(self.exact, self.compressed)


@dataclass(frozen=True)
class Translations:
    """A validation set translated twice.

    Attributes:
        text: the validation set.
        exact: the translations by the exact weights.
        compressed: those by the compressed weights; None where there are none.
    """

    text: Text
    exact: Sequence[str]
    compressed: Sequence[str] | None

    @property
    def changed(self) -> float:
        """Share of the sentences that compressed weights translate otherwise, 0 to 1."""
        return len(self._changed) / len(self.exact)

    def samples(self, count: int) -> list[dict[str, str | None]]:
        """Sentences by the names in :data:`COLUMNS`, each once: those that changed first, in the order of the text."""
        changed = set(self._changed)
        order = [*self._changed, *(k for k in range(len(self.exact)) if k not in changed)]
        rows = {(self.text.sources[k], self.exact[k]): k for k in reversed(order)}  # the first of equal ones stays
        return [self._row(k) for k in order if rows[self.text.sources[k], self.exact[k]] == k][:count]

    def table(self, count: int) -> list[list[str | None]]:
        """The same, with ``**`` around the words in which the two translations differ."""
        rows = []
        for sample in self.samples(count):
            exact, compressed = sample["exact"] or "", sample["compressed"]
            pair = (exact, None) if compressed is None else mark_differences(exact, compressed)
            rows.append([sample["source"], sample["reference"], *pair])
        return rows

    @cached_property
    def _changed(self) -> list[int]:
        if self.compressed is None:
            return []
        pairs = zip(self.exact, self.compressed, strict=True)
        return [k for k, (exact, compressed) in enumerate(pairs) if exact != compressed]

    def _row(self, k: int) -> dict[str, str | None]:
        compressed = None if self.compressed is None else self.compressed[k]
        values = (self.text.sources[k], self.text.references[k], self.exact[k], compressed)
        return dict(zip(COLUMNS, values, strict=True))


def mark_differences(first: str, second: str) -> tuple[str, str]:
    """Both texts with ``**`` around the words that the other does not have in their place.

    >>> mark_differences("a red bus stops", "a bus stops here")
    ('a **red** bus stops', 'a bus stops **here**')
    """
    return _marked(first, second), _marked(second, first)


def checked_translations(found: object, sentences: int) -> list[str]:
    """What a user's function gave, if it is one text for each sentence.

    Raises:
        CallbackError: it is not.
    """
    lines = list(found) if isinstance(found, Sequence) and not isinstance(found, str) else None
    if lines is None or len(lines) != sentences or not all(isinstance(line, str) for line in lines):
        given = type(found).__name__ if lines is None else f"{len(lines)} values"
        raise CallbackError(f"translate gave {given}, expected a list of {sentences} texts, one for each source")
    return lines


def _marked(text: str, other: str) -> str:
    return " ".join(f"**{run.text}**" if run.differs else run.text for run in word_runs(text, other))
