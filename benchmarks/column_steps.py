"""What steps for each input column could save, beside error feedback: bits for each weight of every matrix.

    python -m benchmarks.column_steps --models DIR [--model rnn] [--sentences 2000] [--bits 2.5]

With error feedback, an error e in column c costs (e · L[c, c])², where L is the Cholesky factor of the curvature of the
columns. Steps proportional to 1 / L[c, c] make all columns cost the same (arXiv 2603.04956, "WaterSIC"). At high rates
this saves ½ · log2 of the arithmetic over the geometric mean of the squared diagonal. The last column of the table is
the saving where equal steps take ``--bits``, for weights with a Laplace distribution and an ideal coder: columns with
large steps have nearly no bits left to save.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rate_distortion.methods import ours
from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class
from lightning_compress.quantize import GridGuide
from lightning_compress.search import PlanFamily

KINDS = ("transformer", "rnn")
STEPS = np.exp2(np.linspace(-9, 7, 600))  # in standard deviations
LEVELS = 4000  # of a quantizer, on each side of 0

Floats = NDArray[np.float64]


def laplace_costs() -> tuple[Floats, Floats]:
    """Bits and squared error of a uniform quantizer of a Laplace distribution of variance 1, at each of the steps."""
    bits, errors = np.zeros(len(STEPS)), np.zeros(len(STEPS))
    for k, step in enumerate(STEPS):
        edges = (np.arange(LEVELS) + 0.5) * step * math.sqrt(2)
        tails = np.exp(-edges)  # of both sides together, beyond each edge
        inside = -np.diff(tails, append=0.0)
        probabilities = np.concatenate([[1 - tails[0]], np.repeat(inside / 2, 2)])
        probabilities = probabilities[probabilities > 0]
        bits[k] = -(probabilities * np.log2(probabilities)).sum()
        # E(x − q)² by the memoryless tail: within a cell of width w, x beyond its lower edge is exponential.
        w = step * math.sqrt(2)
        moments = 1 - math.exp(-w), 1 - math.exp(-w) * (1 + w), 2 - math.exp(-w) * (w * w + 2 * w + 2)
        cell = (moments[2] - w * moments[1] + w * w / 4 * moments[0]) / moments[0] if w > 1e-6 else w * w / 12
        h = w / 2
        middle = 2 - math.exp(-h) * (h * h + 2 * h + 2)
        errors[k] = (middle + tails[0] * cell) / 2
    return bits, errors


def savings(factor: Floats, bits: float, costs: tuple[Floats, Floats]) -> tuple[float, float]:
    """Bits for each weight that steps of columns save, at high rates and where equal steps take ``bits``.

    Args:
        factor: the diagonal ``[columns]`` of the factor of error feedback; 1 / factor² has the mean 1.
        bits: for each weight, with equal steps.
        costs: bits and squared error at each of ``STEPS``.
    """
    rate, error = costs
    octaves = np.log2(STEPS)
    equal = float(np.interp(-bits, -rate, octaves))
    allowed = float(np.interp(equal, octaves, error))
    own = np.log2(factor)
    low, high = equal - 12.0, equal + 12.0
    for _ in range(60):
        middle = (low + high) / 2
        lost = float((np.interp(middle + own, octaves, error) / factor**2).mean())
        low, high = (middle, high) if lost < allowed else (low, middle)
    return float(own.mean()), bits - float(np.interp(low + own, octaves, rate).mean())


def table(source: Source, guidance: Mapping[str, object], bits: float) -> Iterator[str]:
    """The rows of a model, in Markdown, and their mean over all weights."""
    costs, total, sums = laplace_costs(), 0, np.zeros(2)
    for name, guide in guidance.items():
        if not isinstance(guide, GridGuide) or guide.factor is None:
            continue
        weights = source.state[name].numel()
        found = savings(guide.factor.diagonal().double().numpy(), bits, costs)
        total, sums = total + weights, sums + weights * np.array(found)
        yield f"| {name} | {weights:,} | {found[0]:.3f} | {found[1]:.3f} |"
    share = total / sum(tensor.numel() for tensor in source.state.values())
    yield f"| all of these, {share:.0%} of the weights | {total:,} | {sums[0] / total:.3f} | {sums[1] / total:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with yardstick.py")
    parser.add_argument("--model", action="append", choices=KINDS, help="default: both")
    parser.add_argument("--sentences", type=int, default=2000, help="of training text, for calibration")
    parser.add_argument("--bits", type=float, default=2.5, help="for each weight, with equal steps")
    options = parser.parse_args()
    families: dict[str, Callable[[Source], PlanFamily]] = {
        "inputs of the validation text": ours.while_evaluated,
        f"gradients of {options.sentences} sentences": lambda source: ours.with_text(source, options.sentences),
    }
    for kind in options.model or KINDS:
        source = Source(kind, yardstick_class(options.models)(kind))
        for data, family in families.items():
            print(
                f"\n{kind}, {data}\n\n| matrix | weights | high rates | at {options.bits:g} bits |\n|---|---|---|---|"
            )
            for line in table(source, family(source).guidance, options.bits):
                print(line, flush=True)


if __name__ == "__main__":
    main()
