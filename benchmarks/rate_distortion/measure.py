"""One method on one model: make each file, read it back, measure."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rate_distortion.methods.method import Candidate, Method
from benchmarks.rate_distortion.points import Point, Store
from benchmarks.rate_distortion.source import Source, digest_of_files, digest_of_tensors


def measure(
    source: Source,
    method: Method,
    splits: list[str],
    store: Store,
    baselines: dict[str, float],
    files: Path | None = None,
) -> Iterator[Point]:
    """The points of a method, those that the store has already as they are.

    Args:
        source: the model.
        method: whose candidates are measured; points of settings that it no longer offers leave the store.
        splits: names of texts.
        store: takes each point when it is measured.
        baselines: split → BLEU of the fp32 weights; empty while these are what is measured.
        files: a folder that keeps each file that is made, named by the digest of the weights read back.
    """
    inputs = f"{source.digest}-{digest_of_files(method.code)}"
    candidates = list(method.candidates(source))
    store.keep_only(source.kind, method.name, {candidate.setting for candidate in candidates})
    for candidate in candidates:
        known = [store.find((source.kind, method.name, candidate.setting, split), inputs) for split in splits]
        if None in known:
            yield from _measured(source, method, candidate, splits, store, baselines, inputs, files)
        else:
            yield from (point for point in known if point is not None)


def _measured(
    source: Source,
    method: Method,
    candidate: Candidate,
    splits: list[str],
    store: Store,
    baselines: dict[str, float],
    inputs: str,
    files: Path | None,
) -> Iterator[Point]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        began = time.perf_counter()
        candidate.write(path)
        seconds = time.perf_counter() - began
        state = candidate.read(path)
        size, search = path.stat().st_size, candidate.search(path)
        content = digest_of_tensors(state)
        if files is not None:
            files.mkdir(exist_ok=True)
            shutil.move(path, files / content)
    for split in splits:
        bleu = store.bleu_of(source.kind, split, content)
        if bleu is None:
            bleu = source.bleu(state, split)
        point = Point(
            source.kind,
            method.name,
            candidate.setting,
            split,
            size,
            round(source.raw_bytes / size, 4),
            round(bleu, 4),
            round(bleu - baselines.get(split, bleu), 4),
            round(seconds, 2),
            inputs,
            content,
            search.evaluations,
        )
        store.add(point)
        yield point
