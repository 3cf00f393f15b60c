"""BLEU by sacrebleu, as a score with the statistics of each sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lightning_compress.errors import SearchError
from lightning_compress.search.evaluate.score import Score, Statistics


def bleu_score(hypotheses: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]], **options: Any) -> Score:
    """Corpus BLEU (0 to 100) by sacrebleu, with the statistics of each sentence.

    Args:
        hypotheses: one translation per sentence.
        references: one reference per sentence, or a list of such lists, one list per reference (as in sacrebleu).
        options: keyword arguments of ``sacrebleu.metrics.BLEU``, of several types, such as ``tokenize="none"``.

    Raises:
        SearchError: sacrebleu is not installed, or hypotheses and references differ in number.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ModuleNotFoundError as error:
        raise SearchError("bleu_score needs sacrebleu: pip install sacrebleu") from error
    if not _are_texts(hypotheses):
        raise SearchError(
            f"the hypotheses are {hypotheses!r:.80}, expected a list of one translation for each sentence"
        )
    streams = _streams(references)
    lengths = {len(hypotheses), *(len(stream) for stream in streams)}
    if len(lengths) != 1 or not hypotheses:
        raise SearchError(
            f"{len(hypotheses)} hypotheses and references of {sorted(lengths)}: give one for each sentence"
        )
    metric = BLEU(**{"force": True, **options})
    order = metric.max_ngram_order
    rows = []
    for hypothesis, *sentence in zip(hypotheses, *streams, strict=True):
        one = metric.corpus_score([hypothesis], [[reference] for reference in sentence])
        rows.append([one.sys_len, one.ref_len, *one.counts, *one.totals])

    def combine(sums: Statistics) -> float:
        counts = [round(number) for number in sums.tolist()]
        return float(
            metric.compute_bleu(
                correct=counts[2 : 2 + order],
                total=counts[2 + order :],
                sys_len=counts[0],
                ref_len=counts[1],
                smooth_method=metric.smooth_method,
                smooth_value=metric.smooth_value,
                effective_order=metric.effective_order,
                max_ngram_order=order,
            ).score
        )

    return Score.of(rows, combine)


def _streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """A list of reference streams, each with one reference per sentence."""
    if _are_texts(references):
        return [[str(text) for text in references]]
    if not (isinstance(references, Collection) and references and all(map(_are_texts, references))):
        raise SearchError(
            f"the references are {references!r:.80}, expected a list of one reference for each sentence, or a list of "
            "such lists"
        )
    return [list(stream) for stream in references]


def _are_texts(value: object) -> bool:
    is_list = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
    return is_list and all(isinstance(text, str) for text in value)  # type: ignore[attr-defined]
