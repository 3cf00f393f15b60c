"""One search for each case on all of the validation text, with the defaults; its file is read once on test text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.promise.items import ITEMS, TEST, Sentences
from benchmarks.rate_distortion.methods import ours
from benchmarks.rate_distortion.methods.calibration import Text
from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class
from lightning_compress import Archive, Weights, load
from lightning_compress.search import ASSURED, Calibration, Evaluate, Observer, Score, evaluating, paired_drop
from lightning_compress.search.effort import effort_of
from lightning_compress.search.feasibility.held_out import Parts, Promise
from lightning_compress.search.max_drop import MaxDrop
from lightning_compress.search.smallest_file.baseline import score_exact_weights
from lightning_compress.search.smallest_file.context import SearchContext
from lightning_compress.search.smallest_file.fewest_bytes import search_fewest_bytes
from lightning_compress.search.smallest_file.metrics import with_metrics
from lightning_compress.search.smallest_file.search import default_families
from lightning_compress.search.trials.coordinates import coordinates_of
from lightning_compress.search.trials.trials import Trials
from lightning_compress.weights import content_digest

MAX_DROP = 0.3
SENTENCES = 2000  # of training text, for calibration


class Remembered:
    """Scores validation text; scores of weights that an interrupted run has scored are read from a folder.

    The first call always translates: a search without calibration data records the inputs of layers in it.
    """

    def __init__(self, sentences: Sentences, folder: Path) -> None:
        self._sentences, self._folder, self._is_first = sentences, folder, True

    def __call__(self, module: nn.Module) -> Score:
        path = self._folder / f"{content_digest(module.state_dict())[:16]}.npy"
        combine = self._sentences.combine
        is_first, self._is_first = self._is_first, False
        if path.exists() and not is_first:
            return Score.of(np.load(path), combine)
        score = self._sentences.translated_score()
        assert score.statistics is not None
        np.save(path, score.statistics)
        print(f"{self._folder.name}: {score.value:.2f}", flush=True)
        return score


def searched(module: nn.Module, evaluate: Evaluate, calibration: Calibration | None) -> tuple[Archive, Trials]:
    """The file that ``smallest`` returns with its defaults, and all trials of its search."""
    with evaluating(module, evaluate, Weights.from_module(module)) as evaluator:
        observer = Observer(evaluator.weights, module) if calibration is None else None
        context = SearchContext(evaluator, observer, calibration, effort_of("default"), lambda *_: None)
        baseline = score_exact_weights(context, MaxDrop(MAX_DROP), None)
        families = default_families(context, evaluator.weights)
        parts, promise = Parts.of(baseline.score, True), Promise(ASSURED, True)
        trials, extra = search_fewest_bytes(context, families, parts, promise, baseline, None)
        return with_metrics(context, trials, baseline.noise, extra), trials


def keep(trials: Trials, raw_bytes: int, out: Path, case: str) -> None:
    """Store the trials as files to replay, beside those that were measured apart from a search."""
    made = [trial for trial in trials.all if trial.family is not None and trial.divergence is not None]
    family = made[0].family
    assert family is not None
    made = [trial for trial in made if family.shares_trials_with(trial.family)]
    for number, (trial, coordinates) in enumerate(zip(made, coordinates_of(made, family).tolist(), strict=True)):
        facts = {
            "coordinates": coordinates,
            "shares": list(family.shares.values()),
            "nbytes": trial.nbytes,
            "ratio": raw_bytes / trial.nbytes,
        }
        assert trial.score.statistics is not None
        assert trials.before.statistics is not None
        np.savez(
            out / f"{case}-search-{number:02}.npz",
            facts=json.dumps(facts),
            statistics=trial.score.statistics,
            exact=trials.before.statistics,
            divergence=np.array([trial.divergence]),
        )


def search(models: Path, text: Path, out: Path, kind: str, data: str) -> None:
    """Search, and write the file and what is known of it."""
    name = f"search-{kind}-{data.replace(' ', '-')}"
    folder, result = out / name, out / f"{name}.json"
    if result.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    source = Source(kind, yardstick_class(models)(kind))
    calibration = None if data == "no data" else Text(source, sentences=SENTENCES)
    evaluate = Remembered(Sentences(source, text, ITEMS), folder)
    with ours.loaded(source):
        archive, trials = searched(source.yardstick.model, evaluate, calibration)
    keep(trials, source.raw_bytes, out, f"{kind}-{data.replace(' ', '-')}")
    ratio = source.raw_bytes / archive.save(out / f"{name}.compressed.safetensors")
    test = Sentences(source, text, TEST)
    scores = []
    for state in (source.state, load(out / f"{name}.compressed.safetensors")):
        source.yardstick.model.eval().load_state_dict(state)
        scores.append(test.translated_score())
    drop = paired_drop(*scores)
    record: dict[str, Any] = {"ratio": ratio, "test_drop": drop.value, "test_deviation": drop.deviation}
    result.write_text(json.dumps({**record, "search": dict(archive.manifest.metrics["search"])}), encoding="utf-8")


def table(out: Path) -> Iterator[str]:
    """The table in Markdown, line by line."""
    yield "| search | ratio | drop, validation | expected drop | assured | drop, test | its error | evaluations |"
    yield "|---|---|---|---|---|---|---|---|"
    for path in sorted(out.glob("search-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        record = found["search"]
        expected = f"{record['expected_drop']:.2f} | {record['assured']:.2f}" if "assured" in record else "– | –"
        yield (
            f"| {path.stem.removeprefix('search-')} | {found['ratio']:.1f}× | {record['drop']:.2f} | {expected} | "
            f"{found['test_drop']:.2f} | {found['test_deviation']:.2f} | {record['evaluations']} |"
        )


def main(models: Path, text: Path, out: Path, kinds: Sequence[str], data: Sequence[str]) -> None:
    """One thread, so that other work goes on beside it."""
    torch.set_num_threads(1)
    for given in data:
        for kind in kinds:
            search(models, text, out, kind, given)
    for line in table(out):
        print(line, flush=True)
