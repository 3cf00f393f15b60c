"""Bits for each weight of the linear maps at one divergence, by recipe; see the package docstring."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch

from benchmarks.published.cerwu import cerwu
from benchmarks.published.entropack import entropack
from benchmarks.published.linear_maps import DAMPING, LinearMaps, Rounded
from benchmarks.published.this_package import guided, with_column_steps
from benchmarks.published.watersic import watersic
from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class

KINDS = ("transformer", "rnn")
FILES = 6  # at most, for each recipe and model
NEAR = 1.0  # octaves of divergence between the two files

Recipe = Callable[[LinearMaps, float], Rounded]

RECIPES: Mapping[str, tuple[Recipe, float]] = {  # and the strength to begin with
    "EntroPack: lattice E8, no data": (entropack, -3.0),
    "GPTQ with an entropy coder": (partial(watersic, equal_steps=True), -2.5),
    "the same, damped as here": (partial(watersic, equal_steps=True, damping=DAMPING), -2.5),
    "WaterSIC": (watersic, -2.5),
    "WaterSIC, damped as here": (partial(watersic, damping=DAMPING), -2.5),
    "CERWU, 16 indices": (partial(cerwu, indices=16), -7.0),
    "CERWU, 32 indices": (partial(cerwu, indices=32), -7.0),
    "CERWU, 64 indices": (partial(cerwu, indices=64), -7.0),
    "this package": (guided, -1.5),
    "this package, half of WaterSIC's column steps": (partial(with_column_steps, power=0.5), -1.5),
    "this package, WaterSIC's column steps": (partial(with_column_steps, power=1.0), -1.5),
}


def bits_at(measure: Callable[[float], tuple[float, float]], nats: float, strength: float) -> float | None:
    """Bits for each weight at which the divergence is ``nats``, on the line between two files, one on each side of it.

    Args:
        measure: strength → bits for each weight and divergence, which grows about fourfold with each unit.
        nats: the divergence.
        strength: of the first file.

    Returns:
        None where ``FILES`` files do not come near it from both sides.
    """
    below: tuple[float, float] | None = None  # logarithm of the divergence over the wanted one, and bits
    above: tuple[float, float] | None = None
    for _ in range(FILES):
        bits, found = measure(strength)
        gap = math.log2(found / nats)
        if gap <= 0:
            below = (gap, bits) if below is None else max(below, (gap, bits))
        else:
            above = (gap, bits) if above is None else min(above, (gap, bits))
        if below is not None and above is not None and above[0] - below[0] < NEAR:
            share = below[0] / (below[0] - above[0])
            return below[1] + share * (above[1] - below[1])
        strength -= math.copysign(min(max(abs(gap) / 2, 0.1) + 0.05, 2.0), gap)
    return None


def measured(maps: LinearMaps, recipe: Recipe, strength: float) -> tuple[float, float]:
    """Bits for each weight, and divergence."""
    rounded = recipe(maps, strength)
    return rounded.bits / maps.size, maps.divergence(rounded.weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder with yardstick.py")
    parser.add_argument("--model", action="append", choices=KINDS, help="default: both")
    parser.add_argument("--nats", type=float, default=0.01, help="divergence for each word; default 0.01")
    parser.add_argument("--recipe", action="append", choices=list(RECIPES), help="default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| model | recipe | bits for each weight at {options.nats:g} nats |\n|---|---|---|")
    for kind in options.model or KINDS:
        maps = LinearMaps(Source(kind, yardstick_class(options.models)(kind)))
        for name in options.recipe or RECIPES:
            recipe, first = RECIPES[name]
            bits = bits_at(partial(measured, maps, recipe), options.nats, first)
            print(f"| {kind} | {name} | {'not reached' if bits is None else f'{bits:.2f}'} |", flush=True)


if __name__ == "__main__":
    main()
