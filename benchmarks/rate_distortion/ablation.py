r"""What each part of the calibrated family is worth: the ratio at a given divergence of the model's outputs.

    python -m benchmarks.rate_distortion.ablation --models DIR [--model rnn] [--nats 0.02] [--sentences 8000] \
        [--row NAME …]

DIR holds ``yardstick.py``. For each row one part is taken away or changed, and the step is found at which the answers
to the validation text diverge by ``--nats`` from those of the trained weights (Kullback–Leibler divergence for each
word, given the reference so far). No BLEU is measured, so the figures have little noise. Ratios are interpolated
between two files, one of which is near the wanted divergence.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.rate_distortion.methods import ours
from benchmarks.rate_distortion.methods.calibration import SENTENCES, Text
from benchmarks.rate_distortion.source import Source
from benchmarks.yardstick import yardstick_class
from lightning_compress import Grid, Plan, Rule
from lightning_compress.quantize import GridGuide
from lightning_compress.search import PlanFamily, uniform_families

KINDS = ("transformer", "rnn")
START = -1.5  # strength of the first file
NEAR = 0.05  # octaves of divergence that are near enough

Families = tuple[PlanFamily, PlanFamily, PlanFamily]  # data-free, calibrated, observed


def with_grids(family: PlanFamily, **changes: Any) -> PlanFamily:
    """The family with other arguments of its grids."""

    def plan_at(strength: float, offsets: Mapping[str, float]) -> Plan:
        rules = family.plan_at(strength, offsets).rules
        return Plan(*(Rule(r.pattern, *map(changed, r.methods), by=r.by, optional=r.optional) for r in rules))

    def changed(method: Any) -> Any:
        return replace(method, **changes) if isinstance(method, Grid) and method.trellis else method

    return replace(family, plan_at=plan_at)


def with_guides(family: PlanFamily, *, rows: bool, feedback: bool, between_rows: bool = True) -> PlanFamily:
    """The family with a part of its guides; feedback between rows requires feedback between columns."""

    def kept(guide: object) -> GridGuide:
        assert isinstance(guide, GridGuide)
        return GridGuide(
            guide.exponents if rows else None,
            guide.factor if feedback else None,
            guide.spread if feedback and between_rows else None,
        )

    return replace(family, guidance={name: kept(guide) for name, guide in family.guidance.items()})


ROWS: dict[str, Callable[[Families], PlanFamily]] = {
    "all": lambda made: made[1],
    "no steps of rows": lambda made: with_guides(made[1], rows=False, feedback=True),
    "no feedback between rows": lambda made: with_guides(made[1], rows=True, feedback=True, between_rows=False),
    "no error feedback": lambda made: with_guides(made[1], rows=True, feedback=False),
    "neither": lambda made: with_guides(made[1], rows=False, feedback=False),
    "no propagation of errors": lambda made: replace(made[1], propagation=None),
    "no trellis": lambda made: with_grids(made[1], trellis=0),
    "rate_weight 0": lambda made: with_grids(made[1], rate_weight=0.0),
    "rate_weight 1": lambda made: with_grids(made[1], rate_weight=1.0),
    "no data: guided by the evaluation": lambda made: made[2],
    "no data: its error feedback alone": lambda made: with_guides(made[2], rows=False, feedback=True),
    "no data: its steps of rows alone": lambda made: with_guides(made[2], rows=True, feedback=False),
    "no data: equal steps": lambda made: made[0],
    "no data, no trellis, rate_weight 0": lambda made: with_grids(made[0], trellis=0, rate_weight=0.0),
}


def families(source: Source, sentences: int) -> Families:
    """The families that rows are made of, calibrated by so many sentences."""
    (free,) = uniform_families(ours.weights_of(source))
    return free, ours.with_text(source, sentences), ours.while_evaluated(source)


@torch.no_grad()
def divergence(source: Source, state: Mapping[str, Tensor], text: Text) -> float:
    """Mean Kullback–Leibler divergence of a word, in nats, from the answers of the trained weights."""
    module, total, words = source.yardstick.model.eval(), 0.0, 0
    for batch in text:
        module.load_state_dict(source.state)
        exact = text.outputs(module, batch).log_softmax(-1)
        module.load_state_dict({name: tensor.float() for name, tensor in state.items()})
        given = text.outputs(module, batch).log_softmax(-1)
        total += float(torch.nn.functional.kl_div(given, exact, log_target=True, reduction="sum"))
        words += len(exact)
    return total / words


def bytes_at(measure: Callable[[float], tuple[int, float]], nats: float, files: int = 4) -> float:
    """Bytes at which the divergence is ``nats``, on the line through two files in logarithms: the nearest, and the
    nearest on the other side of it, or where there is none the farthest. Two close files give no reliable slope.

    Args:
        measure: strength → bytes and divergence; the divergence grows fourfold with each unit, about.
        nats: the divergence.
        files: to be made at most, 2 at least.
    """
    strength, points = START, []
    for _ in range(files):
        nbytes, found = measure(strength)
        gap = math.log2(nats / max(found, 1e-9))
        points.append((gap, math.log2(nbytes)))
        if abs(gap) < NEAR and len(points) > 1:
            break
        strength += gap / 2 if abs(gap) > NEAR else 0.25
    (near, size), *others = sorted(points, key=lambda point: abs(point[0]))
    far, other = next((point for point in others if point[0] * near < 0), others[-1])
    slope = (size - other) / (near - far) if near != far else 0.0
    return 2.0 ** (size - slope * near)


def measured(source: Source, family: PlanFamily, text: Text, strength: float) -> tuple[int, float]:
    """Bytes and divergence of one file."""
    archive = family.archive(strength)
    return archive.nbytes, divergence(source, archive.restore(), text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder with yardstick.py")
    parser.add_argument("--model", action="append", choices=KINDS, help="default: both")
    parser.add_argument("--nats", type=float, default=0.02, help="divergence for each word; default 0.02")
    parser.add_argument("--sentences", type=int, default=SENTENCES, help=f"for calibration; default {SENTENCES}")
    parser.add_argument("--row", action="append", choices=list(ROWS), help="default: all")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| | ratio at {options.nats:g} nats a word |\n|---|---|")
    for kind in options.model or KINDS:
        source = Source(kind, yardstick_class(options.models)(kind))
        text, made = Text(source, "valid"), families(source, options.sentences)
        for name in options.row or ROWS:
            size = bytes_at(partial(measured, source, ROWS[name](made), text), options.nats)
            print(f"| {kind}: {name} | {source.raw_bytes / size:.1f}× |", flush=True)


if __name__ == "__main__":
    main()
