"""BLEU of a file beside that of the exact weights, and whether the difference is one of the sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import sacrebleu
from torch import Tensor

import lightning_compress as lc
from lightning_compress.search import paired_drop


def compare(yardstick: Any, reader: Any, path: Path, split: str) -> str:
    """One line: bytes, ratio, bits of an exact weight, both BLEUs, and their difference with its interval of 95 %.

    Args:
        yardstick: with the exact model.
        reader: a yardstick whose model takes the weights of the file.
        path: the file.
        split: the text.
    """
    state = yardstick.state_dict()
    exact, found = _score(yardstick, state, split), _score(reader, whole(lc.load(path)), split)
    drop = paired_drop(exact, found)
    size, exact_bytes = path.stat().st_size, sum(4 * tensor.numel() for tensor in state.values())
    return (
        f"{split}: {size:,} bytes, {exact_bytes / size:.2f}×, {32 * size / exact_bytes:.3f} bits a weight, "
        f"BLEU {found.value:.2f}, exact {exact.value:.2f}, change {-drop.value:+.2f} "
        f"[{-drop.high:+.2f}, {-drop.low:+.2f}]"
    )


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
