"""Files of given sizes without training, which trained ones are compared with; or of weights that were trained on.

    python -m benchmarks.training.untrained --models DIR --kind rnn --output FOLDER --results CSV 14 20 27 40
    python -m benchmarks.training.untrained --models DIR --kind rnn --output FOLDER --results CSV 40 \
        --start FILE --name "rate, then search"

Steps by sensitivity, trellis and error feedback, as a calibrated search has them; one strength for all parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import lightning_compress as lc
from benchmarks.training.methods import TrainingText
from benchmarks.training.scoring import append, compare
from benchmarks.yardstick import yardstick_class
from lightning_compress.compression import GuidedPlan
from lightning_compress.search.sensitivity.bit_allocation import BitAllocation, allocate_bits
from lightning_compress.training import exact_bytes
from lightning_compress.training.shared import fisher_of

_HALVINGS = 8
_FINEST, _WIDEST = -4.0, 2.5  # octaves


def untrained(weights: lc.Weights, allocations: Mapping[str, BitAllocation], ratio: float) -> lc.Archive:
    """The file of the exact bytes over ``ratio``, from below.

    Args:
        weights: the exact weights.
        allocations: of their matrices.
        ratio: exact bytes over those of the file, at least.
    """
    size, low, high = int(exact_bytes(weights) / ratio), _FINEST, _WIDEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if _plan(allocations, middle).compress(weights).nbytes < size else (middle, high)
    return _plan(allocations, high).compress(weights)


def _plan(allocations: Mapping[str, BitAllocation], octaves: float) -> GuidedPlan:
    half = lc.Half(rounding="nearest")
    rules = [lc.Rule(name, lc.Grid(found.step * 2.0**octaves), half) for name, found in allocations.items()]
    plan = lc.Plan(*rules, lc.Rule("*", half, optional=True))
    return GuidedPlan(plan, {name: found.guide for name, found in allocations.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratios", type=float, nargs="+", help="exact bytes over those of a file")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--kind", required=True, choices=["transformer", "rnn"])
    parser.add_argument("--output", type=Path, required=True, help="folder of the files")
    parser.add_argument("--results", type=Path, required=True, help="CSV file to which the comparisons are added")
    parser.add_argument("--start", type=Path, help="weights in place of the exact ones, of a file of this package")
    parser.add_argument("--name", default="search", help="of the method, in the CSV file")
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    torch.set_num_threads(1)
    yardstick: Any = yardstick_class(options.models)(options.kind)
    if options.start is not None:
        yardstick.model.load_state_dict(lc.load(options.start))
    weights = lc.Weights.from_module(yardstick.model)
    found = allocate_bits(weights, fisher_of(weights, yardstick.model, TrainingText(yardstick)))
    matrices = {weight.name for weight in weights if weight.tensor.squeeze().dim() > 1}
    allocations = {name: allocation for name, allocation in found.items() if name in matrices}
    archives = {ratio: untrained(weights, allocations, ratio) for ratio in options.ratios}
    options.output.mkdir(parents=True, exist_ok=True)
    for ratio, archive in archives.items():
        path = options.output / f"{options.kind}-{ratio:g}.safetensors"
        archive.save(path)
        comparison = compare(yardstick, yardstick, path, options.split, options.kind, options.name)
        print(comparison, flush=True)
        append(options.results, comparison)


if __name__ == "__main__":
    main()
