"""Bytes and squared error of single methods on two trained translation models.

    python -m benchmarks.methods --models DIR

DIR holds ``yardstick.py``, as for ``benchmarks/yardstick.py``. Vectors (biases, norms) are in half precision to
nearest, all else is under the method; where a method has one step for each model, the first is the Transformer's. Bytes
are those of the whole file; the error is the sum of squared errors over the sum of squares of all weights, in percent.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

import lightning_compress as lc
from benchmarks.yardstick import yardstick_class
from lightning_compress import (
    Binary,
    Grid,
    GroupWise,
    Half,
    Interval,
    KMeans,
    Logarithmic,
    LowRank,
    Plan,
    Prune,
    Rule,
    Ternary,
)

KINDS = ("transformer", "rnn")
NEAREST = Half(rounding="nearest")
VECTORS = ("*bias*", "*norm*")
Methods = Sequence[object]


def same(label: str, *methods: object) -> tuple[str, dict[str, Methods]]:
    """A row whose methods are the same for both models."""
    return label, dict.fromkeys(KINDS, methods)


def grids(label: str, steps: tuple[float, float], trellis: int, rate_weight: float) -> tuple[str, dict[str, Methods]]:
    """A row of grids, each model with a step of its own."""
    both = (Grid(step, trellis=trellis, rate_weight=rate_weight) for step in steps)
    return label, {kind: (grid,) for kind, grid in zip(KINDS, both, strict=True)}


ROWS = [
    same("`Half()`", Half()),
    same('`Half(rounding="nearest")`', NEAREST),
    same("`Prune(0.4)`, `Half()`", Prune(0.4, "class-blind"), Half()),
    same("`Prune(0.8)`, `Half()`", Prune(0.8, "class-blind"), Half()),
    same('`Interval(6, scope="tensor")`', Interval(6, scope="tensor"), Half()),
    same('`Interval(4, scope="tensor")`', Interval(4, scope="tensor"), Half()),
    same("`Prune(0.4)`, `Interval(4)`", Prune(0.4, "class-blind"), Interval(4), Half()),
    same("`KMeans(32)`", KMeans(32)),
    same("`KMeans(16)`", KMeans(16)),
    same('`KMeans(16, "model")`', KMeans(16, "model")),
    same("`KMeans(15, outliers=0.005)`", KMeans(15, outliers=0.005), NEAREST),
    same("`KMeans(8)`", KMeans(8)),
    same("`KMeans(7, outliers=0.005)`", KMeans(7, outliers=0.005), NEAREST),
    same("`Prune(0.4)`, `KMeans(16)`", Prune(0.4, "class-blind"), KMeans(16)),
    same("`Logarithmic(4)`", Logarithmic(4)),
    same("`Logarithmic(3)`", Logarithmic(3)),
    same("`GroupWise(4, 64)`", GroupWise(4, 64)),
    same("`GroupWise(4, 128, 16)`", GroupWise(4, 128, 16)),
    same("`GroupWise(3, 64)`", GroupWise(3, 64)),
    same("`GroupWise(2, 32)`", GroupWise(2, 32)),
    same("`Ternary()`", Ternary()),
    same('`Ternary("tensor")`', Ternary("tensor")),
    same("`Ternary(outliers=0.01)`", Ternary(outliers=0.01), NEAREST),
    same("`Binary()`", Binary()),
    same('`LowRank(energy=0.9)`, `Half(rounding="nearest")`', LowRank(energy=0.9), NEAREST),
    same("`LowRank(energy=0.9)`, `KMeans(16)`", LowRank(energy=0.9), KMeans(16)),
    grids("`Grid`, step 0.03 / 0.08, no trellis, nearest points", (0.03, 0.08), 0, 0.0),
    grids("`Grid`, the same steps, no trellis", (0.03, 0.08), 0, 0.5),
    grids("`Grid`, steps 0.0167 / 0.0444, 8 states", (0.0167, 0.0444), 8, 0.5),
    grids("`Grid`, step 0.045 / 0.12, no trellis", (0.045, 0.12), 0, 0.5),
    grids("`Grid`, steps 0.025 / 0.0667, 8 states", (0.025, 0.0667), 8, 0.5),
    grids("`Grid`, steps 0.054 / 0.144, 8 states", (0.054, 0.144), 8, 0.5),
]


def measured(state: Mapping[str, Tensor], methods: Methods) -> tuple[int, float]:
    """Bytes of the file, and the error in percent of the weights' squares."""
    vectors = (Rule(pattern, NEAREST, optional=True) for pattern in VECTORS)
    archive = lc.compress(dict(state), Plan(*vectors, Rule("*", *methods)))
    restored = archive.restore()
    error = sum(float((restored[name].double() - tensor.double()).square().sum()) for name, tensor in state.items())
    return archive.nbytes, 100 * error / sum(float(tensor.double().square().sum()) for tensor in state.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    states = {kind: yardstick_class(options.models)(kind).state_dict() for kind in KINDS}
    raw = {kind: sum(tensor.nbytes for tensor in state.values()) for kind, state in states.items()}
    print("| rule for the matrices | Transformer: bytes | error | RNN: bytes | error |")
    print("|---|---|---|---|---|")
    for label, methods in ROWS:
        cells = []
        for kind, state in states.items():
            nbytes, error = measured(state, methods[kind])
            cells.append(f"{nbytes:,} ({raw[kind] / nbytes:.1f}×) | {error:.3g}")
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
