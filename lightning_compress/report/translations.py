"""What the translation quality callback measured: BLEU of exact and compressed weights, and sample sentences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_compress.report.values import items, mapping, number, read_object, text
from lightning_compress.report.word_differences import Run, marked


@dataclass(frozen=True)
class Sample:
    """One sentence: source, reference, and its translations with the exact and the compressed weights."""

    source: str
    reference: str
    exact: str
    compressed: str

    @property
    def exact_words(self) -> list[Run]:
        """The exact translation; marked is what the compressed one has otherwise."""
        return marked(self.exact, self.compressed)

    @property
    def compressed_words(self) -> list[Run]:
        """The compressed translation; marked is what the exact one has otherwise."""
        return marked(self.compressed, self.exact)


@dataclass(frozen=True)
class Translations:
    """One measurement; what was not measured is NaN.

    Attributes:
        source: the file it was read from.
        step: of the training.
        signature: sacrebleu's, which says how BLEU was computed.
        bleu: with the exact and with the compressed weights, 0 to 100.
        chrf: likewise.
        drop: BLEU lost, and the ends of its interval.
        samples: some sentences.
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
        """Whether there were compressed weights to translate with."""
        return not math.isnan(self.bleu[1])

    @classmethod
    def read(cls, path: Path) -> Translations:
        """The measurement in a file that the callback wrote.

        Raises:
            FormatError: it is another file.
            OSError: it cannot be read.
        """
        found = read_object(path)

        def value(key: str) -> float:
            return number(found.get(key), f"{path}: {key}")

        drop = items(found.get("drop") or [None] * 3, f"{path}: drop", 3)
        value_, low, high = (number(each, f"{path}: drop") for each in drop)
        samples = items(found.get("samples"), f"{path}: samples")
        return cls(
            source=path,
            step=value("step"),
            signature=text(found.get("signature"), f"{path}: signature"),
            bleu=(value("bleu_exact"), value("bleu_compressed")),
            chrf=(value("chrf_exact"), value("chrf_compressed")),
            drop=(value_, low, high),
            samples=tuple(_sample(each, f"{path}: samples[{place}]") for place, each in enumerate(samples)),
        )


def _sample(value: Any, what: str) -> Sample:
    found = mapping(value, what)
    source, reference, exact, compressed = (
        text(found.get(key), f"{what}: {key}") for key in ("source", "reference", "exact", "compressed")
    )
    return Sample(source, reference, exact, compressed)
