"""Reads the record of the translation quality callback: BLEU of exact and compressed weights, sample sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lightning_compress.report.records.json_values import items, mapping, number, read_object, text
from lightning_compress.report.records.word_differences import WordRun, word_runs


@dataclass(frozen=True)
class Sample:
    """One sentence: source, reference, and its translations with the exact and the compressed weights."""

    source: str
    reference: str
    exact: str
    compressed: str

    @property
    def exact_words(self) -> list[WordRun]:
        """The translation with exact weights; runs that the other translation does not have are marked."""
        return word_runs(self.exact, self.compressed)

    @property
    def compressed_words(self) -> list[WordRun]:
        """The translation with compressed weights; runs that the other translation does not have are marked."""
        return word_runs(self.compressed, self.exact)


@dataclass(frozen=True)
class TranslationRecord:
    """The content of one ``translations.json``; values that were not measured are NaN.

    Attributes:
        source: the file.
        step: global step of the training.
        signature: signature of sacrebleu, which states how BLEU was computed.
        bleu: with the exact and with the compressed weights, 0 to 100.
        chrf: likewise.
        drop: drop in BLEU, and its confidence interval.
        samples: sample sentences, each once.
    """

    source: Path
    step: float
    signature: str
    bleu: tuple[float, float]
    chrf: tuple[float, float]
    drop: tuple[float, float, float]
    samples: tuple[Sample, ...]

    @property
    def compared(self) -> bool:
        """Whether compressed weights were measured too."""
        return not math.isnan(self.bleu[1])

    @classmethod
    def read(cls, path: Path) -> TranslationRecord:
        """The record in a file that the callback wrote.

        Raises:
            FormatError: the file has other content.
            OSError: the file cannot be read.
        """
        document = read_object(path)

        def value(key: str) -> float:
            return number(document.get(key), f"{path}: {key}")

        drop = items(document.get("drop") or [None] * 3, f"{path}: drop", 3)
        drop_value, low, high = (number(each, f"{path}: drop") for each in drop)
        samples = items(document.get("samples"), f"{path}: samples")
        return cls(
            source=path,
            step=value("step"),
            signature=text(document.get("signature"), f"{path}: signature"),
            bleu=(value("bleu_exact"), value("bleu_compressed")),
            chrf=(value("chrf_exact"), value("chrf_compressed")),
            drop=(drop_value, low, high),
            samples=tuple(
                dict.fromkeys(_sample(each, f"{path}: samples[{index}]") for index, each in enumerate(samples))
            ),
        )


def _sample(value: object, what: str) -> Sample:
    sample = mapping(value, what)
    source, reference, exact, compressed = (
        text(sample.get(key), f"{what}: {key}") for key in ("source", "reference", "exact", "compressed")
    )
    return Sample(source, reference, exact, compressed)
