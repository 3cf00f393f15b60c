"""BLEU of a file beside that of the exact weights, and whether the difference is one of the sample."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import sacrebleu
from torch import Tensor

import lightning_compress as lc
from lightning_compress.search import paired_drop


@dataclass(frozen=True)
class Comparison:
    """A file beside the exact weights.

    Attributes:
        kind: of the model.
        name: of the method.
        split: the text.
        nbytes: of the file.
        exact_bytes: of the exact weights.
        bleu: of the weights that were read back.
        exact_bleu: of the exact weights.
        low: of the change of BLEU with a probability of 95 %, by a paired bootstrap over sentences.
        high: likewise.
    """

    kind: str
    name: str
    split: str
    nbytes: int
    exact_bytes: int
    bleu: float
    exact_bleu: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """Exact bytes over those of the file."""
        return self.exact_bytes / self.nbytes

    @property
    def change(self) -> float:
        """Of BLEU."""
        return self.bleu - self.exact_bleu

    def __str__(self) -> str:
        return (
            f"{self.split}: {self.nbytes:,} bytes, {self.ratio:.2f}×, {32 / self.ratio:.3f} bits a weight, "
            f"BLEU {self.bleu:.2f}, exact {self.exact_bleu:.2f}, change {self.change:+.2f} "
            f"[{self.low:+.2f}, {self.high:+.2f}]"
        )


def append(path: Path, comparison: Comparison) -> None:
    """Add a comparison to a CSV file, which is made where there is none."""
    row, is_new = asdict(comparison), not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def read(path: Path) -> list[Comparison]:
    """The comparisons of a CSV file of :func:`append`."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Comparison(
                row["kind"],
                row["name"],
                row["split"],
                int(row["nbytes"]),
                int(row["exact_bytes"]),
                *(float(row[name]) for name in ("bleu", "exact_bleu", "low", "high")),
            )
            for row in csv.DictReader(file)
        ]


def compare(yardstick: Any, reader: Any, path: Path, split: str, kind: str, name: str) -> Comparison:
    """Measure a file.

    Args:
        yardstick: with the exact model.
        reader: a yardstick whose model takes the weights of the file.
        path: the file.
        split: the text.
        kind: of the model.
        name: of the method.
    """
    state = yardstick.state_dict()
    exact, found = _score(yardstick, state, split), _score(reader, whole(lc.load(path)), split)
    drop = paired_drop(exact, found)
    exact_bytes = sum(4 * tensor.numel() for tensor in state.values())
    bounds = -drop.high, -drop.low
    return Comparison(kind, name, split, path.stat().st_size, exact_bytes, found.value, exact.value, *bounds)


def whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file, with the products of factors in place of them."""
    products = {
        f"{name.removesuffix('.left')}.weight": left.float() @ state[f"{name.removesuffix('.left')}.right"].float()
        for name, left in state.items()
        if name.endswith(".left")
    }
    return {name: tensor for name, tensor in state.items() if not name.endswith((".left", ".right"))} | products


def _score(yardstick: Any, state: Any, split: str) -> lc.Score:
    """BLEU with the statistics of each sentence, from the translations that the yardstick hands to sacrebleu."""
    original = sacrebleu.corpus_bleu
    with mock.patch.object(sacrebleu, "corpus_bleu", side_effect=original) as recorded:
        yardstick.bleu(state, split)
    hypotheses, (references,) = recorded.call_args.args
    return lc.bleu_score(hypotheses, references, tokenize="none", force=True)
