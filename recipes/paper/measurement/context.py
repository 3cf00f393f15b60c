"""The context of the experiments: one model, one text and one cache of measured points."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch

from lightning_compress import Plan, Weights
from lightning_compress.archive import is_archive
from lightning_compress.search import Swapper, swapping
from recipes.errors import ExperimentError
from recipes.paper.measurement.cache import MeasurementCache
from recipes.paper.measurement.evaluation import Evaluation, evaluation
from recipes.paper.measurement.measurement import Conditions, Measurement, Point, fingerprint
from recipes.paper.measurement.round_trip import Compressor
from recipes.paper.measurement.significance import ScoreComparison, compare
from recipes.paper.settings import Settings
from recipes.translate import load_translator
from recipes.translation import Translation

OnPoint = Callable[[str], None]


@dataclass(eq=False)
class ExperimentContext:
    """Measures each point once; created by :func:`experiment_context`.

    Attributes:
        settings: model, text, folder and choices.
        module: the translation module.
        evaluation: BLEU of the module on the text.
        compressor: makes files of its weights.
        swapper: scores changed weights.
        cache: points measured before, by this or another experiment.
        on_point: called with a description of each point before it is measured.
        new: number of points measured here, not read from the cache.
    """

    settings: Settings
    module: Translation
    evaluation: Evaluation
    compressor: Compressor
    swapper: Swapper
    cache: MeasurementCache
    on_point: OnPoint
    new: int = 0
    _conditions: Conditions = field(init=False)

    def __post_init__(self) -> None:
        text, signature = self.evaluation.text, self.evaluation.signature
        self._conditions = Conditions(model_of(self.weights), text, self.evaluation.beam, signature)

    @property
    def weights(self) -> Weights:
        """The exact weights."""
        return self.compressor.weights

    @property
    def classes(self) -> list[str]:
        """Names of the model's classes, in order of appearance."""
        return list(dict.fromkeys(weight.class_name for weight in self.weights))

    @property
    def raw_bytes(self) -> int:
        """Bytes of the tensors before compression, tied ones counted once."""
        return sum(weight.tensor.numel() * weight.tensor.element_size() for weight in self.weights)

    @cached_property
    def exact(self) -> Measurement:
        """BLEU of the exact weights."""
        return self._once(None, "the exact weights", self._measure_exact)

    def measure(self, plan: Plan, what: str) -> Measurement:
        """BLEU of the weights restored from a file compressed under a plan, and the size of that file.

        Args:
            plan: compression of the weights.
            what: description of the point, for progress and messages.

        Raises:
            PlanError: the plan does not fit the model.
            SearchError: translating fails.
        """
        return self._once(plan, what, lambda: self._measure(plan, what))

    def compare(self, measured: Measurement) -> ScoreComparison:
        """How BLEU at a point compares with that of the exact weights."""
        settings = self.settings
        return compare(self.exact.score, measured.score, tolerance=settings.tolerance, seed=settings.seed)

    def _once(self, plan: Plan | None, what: str, measure: Callable[[], Measurement]) -> Measurement:
        point = Point(plan, self._conditions)
        self.on_point(what)
        measured = self.cache.get(point)
        if measured is None:
            measured = measure()
            self.cache.put(point, measured)
            self.new += 1
        return measured

    def _measure(self, plan: Plan, what: str) -> Measurement:
        began = time.perf_counter()
        file = self.compressor.round_trip(plan)
        score = self.swapper.score(file.tensors, what)
        return Measurement(score, self.raw_bytes, file.bytes, file.zeros, time.perf_counter() - began)

    def _measure_exact(self) -> Measurement:
        began = time.perf_counter()
        score = self.swapper.score({}, "the exact weights")
        zeros = sum(int((weight.tensor == 0).sum()) for weight in self.weights)
        share = zeros / sum(weight.tensor.numel() for weight in self.weights)
        return Measurement(score, self.raw_bytes, self.raw_bytes, share, time.perf_counter() - began)


@contextmanager
def experiment_context(
    settings: Settings, *, device: torch.device | None = None, on_point: OnPoint | None = None
) -> Iterator[ExperimentContext]:
    """Open the context of the experiments.

    Args:
        settings: model, text, folder and choices.
        device: where to translate; the first GPU by default, the CPU where there is none.
        on_point: called with a description of each point before it is measured.

    Raises:
        VocabularyError: the checkpoint is not one of a translation recipe, or its vocabularies do not fit its network.
        ExperimentError: the checkpoint is a compressed file.
        TextError: the text is missing, or has a sentence without a reference.
    """
    if is_archive(settings.checkpoint):
        raise ExperimentError(
            f"{settings.checkpoint} is compressed already: give the .ckpt it was made from, as the experiments compare "
            "with exact weights"
        )
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = load_translator(settings.checkpoint)
    weights = Weights.from_module(module)
    evaluate = evaluation(module, settings, place)
    cache = MeasurementCache(settings.out / "points", evaluate.combine)
    with swapping(module.to(place), evaluate, weights) as swapper:
        yield ExperimentContext(
            settings, module, evaluate, Compressor(swapper.weights), swapper, cache, on_point or (lambda what: None)
        )


def model_of(weights: Weights) -> str:
    """Fingerprint of weights, class, hyper-parameters and vocabularies."""
    assets = {name: content.hex() for name, content in weights.assets.items()}
    return fingerprint([weights.fingerprint, weights.class_path, dict(weights.hyper_parameters), assets])
