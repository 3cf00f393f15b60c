"""What measuring the sensitivity of every class costs, against plain evaluations of the same sentences.

    python -m benchmarks.layer_sensitivity --checkpoint best.ckpt --data DIR --source en --target de \
        [--split valid] [--sentences 1000] [--beam 1] [--out sensitivity.json]

BLEU of each class at each of six strengths takes one evaluation a point. A plain evaluation is timed before and after,
and the whole is to cost at most 1.15 of as many. Seconds are those of the processor, which other programs do not
lengthen. With ``--loss`` the loss is measured instead of BLEU, a forward pass a batch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from lightning_compress import bleu_score
from lightning_compress.callbacks import mean_loss
from lightning_compress.search import layer_sensitivities
from recipes.data.batching import Batch, PairDataset, TokenBatches
from recipes.data.text_files import read_parallel
from recipes.translate import load_translator
from recipes.translation import Translation

BOUND = 1.15
TOKENS = 4096  # padded words of a batch


class Batches:
    """Batches of a split, built once; the loss is the module's own."""

    def __init__(self, module: Translation, sources: list[str], targets: list[str]) -> None:
        known = module.known_vocabularies()
        cut = known.settings.cut_source(sources), known.settings.cut_target(targets)
        pairs = PairDataset(
            [known.source.encode(words) for words in cut[0]],
            [known.target.encode(words) for words in cut[1]],
            [" ".join(words) for words in cut[1]],
        )
        self.batches = [pairs[rows] for rows in TokenBatches(pairs.lengths(), TOKENS, shuffle=False)]

    def __iter__(self) -> Any:
        return iter(self.batches)

    def loss(self, module: Translation, batch: Batch) -> torch.Tensor:
        return module.loss(batch)


class Timed:
    """Calls a function and adds up what it takes."""

    def __init__(self, function: Any) -> None:
        self.function, self.seconds, self.calls = function, 0.0, 0

    def __call__(self, module: Translation) -> Any:
        began = process_time()
        value = self.function(module)
        self.seconds += process_time() - began
        self.calls += 1
        return value


def plain(module: Translation, evaluate: Any, times: int) -> list[float]:
    """Seconds of the processor for evaluations of the exact weights."""
    seconds = []
    with torch.no_grad():
        for _ in range(times):
            began = process_time()
            evaluate(module.eval())
            seconds.append(process_time() - began)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--split", default="valid")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--loss", action="store_true", help="measure the loss instead of BLEU")
    parser.add_argument("--times", type=int, default=3, help="plain evaluations before and after")
    parser.add_argument("--out", type=Path, help="where the result goes, as JSON")
    options = parser.parse_args()
    module = load_translator(options.checkpoint)
    paths = (options.data / f"{options.split}.{side}" for side in (options.source, options.target))
    sources, targets = (list(lines)[: options.sentences] for lines in read_parallel(*paths))
    data = Batches(module, sources, targets)

    def bleu(module: Translation) -> Any:
        texts = [module.best(batch.source, beam=options.beam) for batch in data.batches]
        references = [reference for batch in data.batches for reference in batch.references]
        return bleu_score([text for part in texts for text in part], references, tokenize="none")

    function = mean_loss(data, None) if options.loss else bleu
    plain(module, function, 1)  # warm
    before = plain(module, function, options.times)
    timed, began, wall = Timed(function), process_time(), perf_counter()
    result = layer_sensitivities(
        module,
        timed,
        measure="loss" if options.loss else "BLEU",
        higher_is_better=not options.loss,
        calibration=data,
        gradient_batches=4,
    )
    whole, wall = process_time() - began, perf_counter() - wall
    one = median(before + plain(module, function, options.times))
    points = result.scores.size + 1
    print(f"{len(result.groups)} classes × {len(result.strengths)} strengths, {len(sources):,} sentences")
    print(f"baseline {result.measure} {result.baseline:.4f}; {timed.calls} evaluations of {points} points")
    print(f"plain evaluation {one:.3f} s of the processor (median of {2 * options.times})")
    print(f"the whole {whole:.1f} s (wall {wall:.1f} s), of which evaluations {timed.seconds:.1f} s")
    print(f"the whole / {points} plain evaluations: {whole / (points * one):.3f} (at most {BOUND})")
    print(f"rank correlation: { {name: round(value, 3) for name, value in result.rank_correlation.items()} }")
    print(f"largest ratio: {result.largest_ratio()}")
    print(f"ranked: {[(name, round(drop, 3)) for name, drop in result.ranked()]}")
    if options.out is not None:
        options.out.write_text(result.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
