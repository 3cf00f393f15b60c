"""Methods of this package.

A method of ours is one small function from a model to candidates; add it to ``METHODS``.

The families of the search are walked through at fixed strengths, the same for every model; strength 0 is a step of one
standard deviation of the weights. ``auto`` is the search itself, which measures on the validation text and receives
no information about the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

import lightning_compress as lc
from benchmarks.rate_distortion.methods.calibration import SENTENCES, Text
from benchmarks.rate_distortion.methods.method import Candidate, Method, Search
from benchmarks.rate_distortion.source import Source
from lightning_compress import Archive, Weights
from lightning_compress.search import (
    Family,
    Observer,
    PlanFamily,
    calibrated_families,
    input_guided_families,
    uniform_families,
)

CODE = (Path(lc.__file__).parent, Path(__file__), Path(__file__).with_name("calibration.py"))
STRENGTHS = tuple(quarter / 4 for quarter in range(-13, 2))
MAX_DROP = 0.3


def saved(setting: str, archive: Callable[[], Archive]) -> Candidate:
    """The file of an archive, which is made when the file is wanted."""
    return Candidate(setting, lambda path: archive().save(path), lc.load, search_of)


def search_of(path: Path) -> Search:
    """The search record of a file, if a search made it."""
    facts = Archive.open(path).manifest.metrics.get("search", {})
    return Search(int(facts.get("evaluations", 0)))


def presets(source: Source) -> Iterable[Candidate]:
    """The plans of the paper, and half precision."""
    for name in ("half", "paper-transformer", "paper-rnn"):
        yield saved(name, partial(lc.compress, source.state, name))


def data_free(source: Source) -> Iterable[Candidate]:
    """Uniform grids: no data."""
    return _walk(lambda: uniform_families(weights_of(source))[0], STRENGTHS)


def observed(source: Source) -> Iterable[Candidate]:
    """The same, guided by the inputs that translating the validation text once shows; no labels."""
    return _walk(lambda: while_evaluated(source), STRENGTHS)


def calibrated(source: Source) -> Iterable[Candidate]:
    """Steps by sensitivity and errors fed back: gradients of training text, no training."""
    return _walk(lambda: with_text(source), STRENGTHS)


def auto(source: Source) -> Iterable[Candidate]:
    """The smallest file that the search finds within ``MAX_DROP``."""
    yield saved("no data", lambda: _searched(source, None))
    yield saved("calibrated", lambda: _searched(source, Text(source)))


@contextmanager
def loaded(source: Source) -> Iterator[None]:
    """A block that begins with the trained weights in the yardstick's module; what comes after it loads its own."""
    source.yardstick.model.load_state_dict(source.state)
    source.yardstick.model.eval()
    yield


def while_evaluated(source: Source) -> PlanFamily:
    """The family that the search makes without calibration data."""
    weights = weights_of(source)
    observer = Observer(weights, source.yardstick.model)
    with loaded(source), torch.no_grad(), observer.recording():
        source.bleu(source.state, "val")
    return input_guided_families(weights, observer.observations)[0]


def with_text(source: Source, sentences: int = SENTENCES) -> PlanFamily:
    """The calibrated family, as the search makes it, by so many sentences."""
    weights, text = weights_of(source), Text(source, sentences=sentences)
    return calibrated_families(weights, source.yardstick.model, text, loaded=partial(loaded, source))[0]


def weights_of(source: Source) -> Weights:
    """The trained weights with the classes of the yardstick's module."""
    return Weights.from_state_dict(source.state, module=source.yardstick.model)


def _walk(make: Callable[[], Family], strengths: Iterable[float]) -> Iterable[Candidate]:
    """A candidate for each strength; the family is made with the first file that is wanted."""
    family = cache(make)

    def archive(strength: float) -> Archive:
        return family().archive(strength)

    for strength in strengths:
        yield saved(f"strength={strength:g}", partial(archive, strength))


def _searched(source: Source, calibration: Text | None) -> Archive:
    def bleu(module: nn.Module) -> float:
        return source.bleu(module.state_dict(), "val")

    with loaded(source):
        return lc.smallest(source.yardstick.model, bleu, MAX_DROP, calibration=calibration)


METHODS = [
    Method("presets", presets, CODE),
    Method("data-free", data_free, CODE),
    Method("observed", observed, CODE),
    Method("calibrated", calibrated, CODE),
    Method("auto", auto, CODE),
]
