"""BLEU of a file beside that of the exact weights, and whether the difference is one of the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import sacrebleu

import lightning_compress as lc

_SAMPLES = 1000


def compare(yardstick: Any, path: Path, split: str) -> str:
    """One line: bytes, ratio, both BLEUs, their difference with its interval of 95 %, and the p-value of no loss."""
    exact = yardstick.state_dict()
    exact_bleu, first = _translated(yardstick, exact, split)
    file_bleu, second = _translated(yardstick, lc.load(path), split)
    differences = _resampled(second) - _resampled(first)
    low, high = np.percentile(differences, [2.5, 97.5])
    size, exact_bytes = path.stat().st_size, sum(4 * tensor.numel() for tensor in exact.values())
    return (
        f"{split}: {size:,} bytes, {exact_bytes / size:.2f}×, {8 * size / (exact_bytes / 4):.3f} bits a weight, "
        f"BLEU {file_bleu:.2f}, exact {exact_bleu:.2f}, change {file_bleu - exact_bleu:+.2f} "
        f"[{low:+.2f}, {high:+.2f}], p {float((differences >= 0).mean()):.3f}"
    )


def _translated(yardstick: Any, state: Any, split: str) -> tuple[float, np.ndarray]:  # type: ignore[type-arg]
    """BLEU, and the counts of each sentence, ``[sentences, 10]``, which the yardstick hands to sacrebleu."""
    seen: list[tuple[list[str], list[list[str]]]] = []
    original = sacrebleu.corpus_bleu

    def recorded(hypotheses: list[str], references: list[list[str]], **settings: Any) -> Any:
        seen.append((hypotheses, references))
        return original(hypotheses, references, **settings)

    with mock.patch.object(sacrebleu, "corpus_bleu", recorded):
        score = yardstick.bleu(state, split)
    (hypotheses, (references,)) = seen[0]
    metric = sacrebleu.BLEU(tokenize="none", force=True)
    return score, np.array(metric._extract_corpus_statistics(hypotheses, [references]))


def _resampled(counts: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """``[samples]`` BLEU of the same resampled sentences at each call."""
    generator = np.random.default_rng(0)
    metric = sacrebleu.BLEU(tokenize="none", force=True)
    picks = (generator.integers(0, len(counts), len(counts)) for _ in range(_SAMPLES))
    return np.array([metric._compute_score_from_stats(counts[pick].sum(0).tolist()).score for pick in picks])
