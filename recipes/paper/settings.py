"""Settings of the experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from recipes.errors import ExperimentError

Scheme = Literal["class-blind", "class-uniform"]
SHARES = tuple(k / 20 for k in range(20))  # 0 … 95 %
BITS = tuple(range(2, 9))


@dataclass(frozen=True)
class Settings:
    """Model, text, folder and choices. Fractions are from 0 to 1.

    Attributes:
        checkpoint: a ``.ckpt`` that a recipe saved.
        data: folder of the text.
        out: folder of the results; made if it is not there.
        source, target: endings of the text files.
        split: name of the text files before their ending.
        beam: translations kept in the search; the model's ``test_beam`` by default.
        limit: only the first so many sentences; all by default.
        tolerance: drop of BLEU that still counts as kept.
        shares: table 1: shares of the weights that are pruned.
        bits: figures 6, 7 and 8: bits of an index.
        classes: figure 5: classes that are pruned alone; all by default.
        coverage: figure 6, table 2: share of the weights inside the interval; by default the paper's, 0.991 and 0.98.
        prune: figure 1, table 2: share that is pruned; by default that of the paper's Transformer or RNN.
        scheme: table 2: how it is pruned; the same default.
        index_bits: table 2: bits of an index; the same default.
        seed: of the bootstrap.

    Raises:
        ExperimentError: a value out of range.
    """

    checkpoint: Path
    data: Path
    out: Path
    source: str = "en"
    target: str = "de"
    split: str = "valid"
    beam: int | None = None
    limit: int | None = None
    tolerance: float = 0.3
    shares: tuple[float, ...] = SHARES
    bits: tuple[int, ...] = BITS
    classes: tuple[str, ...] = ()
    coverage: float | None = None
    prune: float | None = None
    scheme: Scheme | None = None
    index_bits: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check("beam", self.beam, 1)
        _check("limit", self.limit, 1)
        _check("tolerance", self.tolerance, 0)
        _check("seed", self.seed, 0)
        _check("coverage", self.coverage, 0, 1)
        _check("index-bits", self.index_bits, 1, 16)
        for name, values in (("shares", self.shares), ("prune", [] if self.prune is None else [self.prune])):
            for value in values:
                if not 0 <= value < 1:
                    raise ExperimentError(f"--{name} has {value}: expected fractions from 0 to below 1, 0.15 for 15 %")
        for bits in self.bits:
            _check("bits", bits, 1, 16)
        for name, given in (("shares", self.shares), ("bits", self.bits)):
            _check_list(name, given)
        if self.scheme is not None and self.scheme not in get_args(Scheme):
            raise ExperimentError(f"--scheme is {self.scheme!r}: expected {' or '.join(get_args(Scheme))}")


def _check(name: str, value: float | None, least: float, most: float = float("inf")) -> None:
    if value is not None and not least <= value <= most:
        limit = f"from {least} to {most}" if most < float("inf") else f"{least} or more"
        raise ExperimentError(f"--{name} has {value}: expected {limit}")


def _check_list(name: str, values: Sequence[float]) -> None:
    if not values or len(set(values)) != len(values):
        raise ExperimentError(f"--{name} has {list(values)}: expected one value or more, none twice")
