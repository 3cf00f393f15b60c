"""Candidate files of each case, measured once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.promise.items import Floats, Items, Parts
from benchmarks.rate_distortion.methods import ours
from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class
from lightning_compress import bleu_score
from lightning_compress.search import Family
from lightning_compress.search.families.target_size import strength_for

KINDS = ("rnn", "transformer")
DATA = ("no data", "calibrated")
RATIOS = {  # the smallest and the largest ratio of a case
    ("rnn", "no data"): (11.0, 26.0),
    ("transformer", "no data"): (9.5, 18.0),
    ("rnn", "calibrated"): (15.0, 36.0),
    ("transformer", "calibrated"): (11.0, 24.0),
}
SENTENCES = 1000  # of training text, for calibration
LEAST = 6  # measured files, without which a case is left out of replays
ALONG, OFFSETS, LARGER = 12, 6, 3  # files with one strength for all parts; whose parts differ; larger than the range
SPREAD = 0.25  # of the offsets, in octaves of the step


def _bleu() -> Callable[[Floats], float]:
    combine = bleu_score(["a"], ["a"], tokenize="none").combine
    assert combine is not None
    return combine


BLEU = _bleu()


@dataclass(frozen=True)
class Measured:
    """One file and what was measured of it.

    Attributes:
        coordinates: for each part of the model the logarithm of the bytes of the whole model at the part's strength.
        nbytes: of the file.
        ratio: of the raw bytes to these.
        statistics: ``[items, k]`` of the score.
        divergence: of the first items, in nats for each answer.
    """

    coordinates: tuple[float, ...]
    nbytes: int
    ratio: float
    statistics: Floats
    divergence: Floats


@dataclass(frozen=True)
class Case:
    """A model, with or without calibration data, and its files.

    Attributes:
        name: for the table.
        shares: of the parts of the model.
        exact: statistics of the exact weights.
        files: the candidates.
        combine: sums of statistics → the score.
        max_drop: that searches allow.
    """

    name: str
    shares: tuple[float, ...]
    exact: Floats
    files: tuple[Measured, ...]
    combine: Callable[[Floats], float] = BLEU
    max_drop: float = 0.3


def measure(
    models: Path,
    text: Path,
    out: Path,
    kinds: Sequence[str],
    data: Sequence[str],
    parts: Parts,
) -> None:
    """Measure what is not measured yet; each file is stored when it is known."""
    out.mkdir(parents=True, exist_ok=True)
    sources = {kind: Source(kind, yardstick_class(models)(kind)) for kind in kinds}
    items = {kind: Items(source, text, parts) for kind, source in sources.items()}
    families: dict[tuple[str, str], Family] = {}
    for kind, given, number in _order(kinds, data):
        path = out / f"{kind}-{given.replace(' ', '-')}-{number:02}.npz"
        if path.exists():
            continue
        if (kind, given) not in families:
            families[kind, given] = _family(sources[kind], given)
        family = families[kind, given]
        strength, offsets = _setting(family, sources[kind].raw_bytes, RATIOS[kind, given], number)
        archive = family.with_offsets(offsets).archive(strength)
        score, divergence = items[kind].measure(archive.restore())
        exact = items[kind].score(items[kind].exact)
        bytes_at = family.with_offsets({}).predict_bytes
        facts = {
            "coordinates": [float(np.log(bytes_at(strength + offsets.get(part, 0.0)))) for part in family.shares],
            "shares": list(family.shares.values()),
            "nbytes": archive.nbytes,
            "ratio": sources[kind].raw_bytes / archive.nbytes,
        }
        assert score.statistics is not None
        assert exact.statistics is not None
        np.savez(
            path, facts=json.dumps(facts), statistics=score.statistics, exact=exact.statistics, divergence=divergence
        )
        print(path.stem, f"{facts['ratio']:.2f}x {score.value - exact.value:+.2f} {divergence.mean():.4f}", flush=True)


def cases(folders: Sequence[Path]) -> Iterator[Case]:
    """The cases with the files that are measured so far, in each folder on another text.

    Raises:
        ValueError: the folders have other files of one name.
    """
    for kind in KINDS:
        for data in DATA:
            names = [{path.name for path in out.glob(f"{kind}-{data.replace(' ', '-')}-*.npz")} for out in folders]
            common = sorted(set.intersection(*names))
            if left_out := len(set.union(*names)) - len(common):
                print(f"{kind}, {data}: {left_out} files are not measured in each folder, and left out")
            if len(common) < LEAST:
                continue
            shares, exact, files = zip(*(_joined([out / name for out in folders]) for name in common), strict=True)
            yield Case(f"{kind}, {data}", shares[0], exact[0], files)


def _joined(paths: Sequence[Path]) -> tuple[tuple[float, ...], Floats, Measured]:
    """One file that was measured on several texts: shares of the parts, statistics of the exact weights, the file."""
    loaded: list[Mapping[str, Any]] = [np.load(path) for path in paths]
    facts, *others = (json.loads(str(one["facts"])) for one in loaded)
    if any(one["nbytes"] != facts["nbytes"] for one in others):
        raise ValueError(f"{', '.join(map(str, paths))} are different files: measure one of the texts again")
    statistics, exact, divergence = (
        np.concatenate([one[key] for one in loaded]) for key in ("statistics", "exact", "divergence")
    )
    file = Measured(tuple(facts["coordinates"]), facts["nbytes"], facts["ratio"], statistics, divergence)
    return tuple(facts["shares"]), exact, file


def _order(kinds: Sequence[str], data: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """Every third file of all cases first, so that an interrupted run has all sizes of each."""
    for number in sorted(range(ALONG + OFFSETS + LARGER), key=lambda k: (k % 3, k)):
        for given in data:
            for kind in kinds:
                yield kind, given, number


def _family(source: Source, data: str) -> Family:
    return ours.while_evaluated(source) if data == "no data" else ours.with_text(source, SENTENCES)


def _setting(
    family: Family, raw_bytes: int, ratios: tuple[float, float], number: int
) -> tuple[float, Mapping[str, float]]:
    """Strength and offsets of a file: along the strength, around its middle with differing parts, then larger ones."""
    low, high = ratios
    draw, differs = random.Random(number), ALONG <= number < ALONG + OFFSETS
    position = draw.uniform(0.2, 0.7) if differs else number / (ALONG - 1)
    if number >= ALONG + OFFSETS:
        position = -(number - ALONG - OFFSETS + 1) / (ALONG - 1)
    strength = strength_for(family, raw_bytes / (low * (high / low) ** position))
    offsets = {part: draw.gauss(0.0, SPREAD) for part in family.shares} if differs else {}
    return strength, offsets


def main(models: Path, text: Path, out: Path, kinds: Sequence[str], data: Sequence[str], parts: Parts) -> None:
    """One thread, so that other work goes on beside it."""
    torch.set_num_threads(1)
    measure(models, text, out, kinds, data, parts)
