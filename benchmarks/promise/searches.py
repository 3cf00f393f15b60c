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
from lightning_compress import load, smallest
from lightning_compress.search import Score, paired_drop
from lightning_compress.search.evaluate.evaluation import content_digest

MAX_DROP = 0.3
SENTENCES = 2000  # of training text, for calibration


class Remembered:
    """Scores validation text; scores of weights that an interrupted run has scored are read from a folder."""

    def __init__(self, sentences: Sentences, folder: Path) -> None:
        self._sentences, self._folder = sentences, folder

    def __call__(self, module: nn.Module) -> Score:
        path = self._folder / f"{content_digest(module.state_dict())[:16]}.npy"
        combine = self._sentences.combine
        if path.exists():
            return Score.of(np.load(path), combine)
        score = self._sentences.translated_score()
        assert score.statistics is not None
        np.save(path, score.statistics)
        print(f"{self._folder.name}: {score.value:.2f}", flush=True)
        return score


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
        archive = smallest(source.yardstick.model, evaluate, MAX_DROP, calibration=calibration)
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
