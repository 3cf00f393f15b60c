"""The combination of pruning, quantization and half precision (reference paper, section 3.4, tables 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from lightning_compress import Half, Interval, Plan, Prune, Rule
from lightning_compress.plan import PRESETS
from recipes.paper.experiments.compression_rate import combination as rate
from recipes.paper.settings import Settings
from recipes.rnn import RnnTranslation
from recipes.translation import Translation


@dataclass(frozen=True)
class Step:
    """One row of the table.

    Attributes:
        name: description of the step.
        plan: None for the exact weights.
        formula: the rate by the paper's formula.
    """

    name: str
    plan: Plan | None
    formula: float

    @property
    def methods(self) -> str:
        """The methods of the plan; nothing for the exact weights."""
        return "" if self.plan is None else ", ".join(map(repr, self.plan.rules[-1].methods))


@dataclass(frozen=True)
class Combination:
    """Settings of the combined methods.

    Attributes:
        prune: share that is pruned, 0 to 1.
        scheme: ``class-blind`` or ``class-uniform``.
        bits: n, of an index.
        coverage: share of the weights inside the interval, 0 to 1.
    """

    prune: float
    scheme: Any
    bits: int
    coverage: float

    def steps(self) -> list[Step]:
        """The exact weights, then one additional method per step."""
        prune, interval = Prune(self.prune, self.scheme), Interval(self.bits, self.coverage)
        quantized = partial(rate, self.prune, self.bits, self.coverage)
        quantize = f"+ quantize {self.bits} bits {100 * self.coverage:g} %"
        return [
            Step("baseline", None, 1.0),
            Step(f"prune {100 * self.prune:g} %", Plan(Rule("*", prune)), rate(self.prune)),
            Step(quantize, Plan(Rule("*", prune, interval)), quantized()),
            Step("+ half precision", Plan(Rule("*", prune, interval, Half())), quantized(half=True)),
        ]


def combination_of(module: Translation, settings: Settings) -> Combination:
    """The paper's combination for the architecture of a module, with the overrides of the settings."""
    preset = PRESETS["paper-rnn" if isinstance(module, RnnTranslation) else "paper-transformer"].rules[-1]
    assert isinstance(preset.prune, Prune)
    assert isinstance(preset.quantizer, Interval)
    usual = (preset.prune.amount, preset.prune.scope, preset.quantizer.bits, preset.quantizer.coverage)
    given = (settings.prune, settings.scheme, settings.index_bits, settings.coverage)
    prune, scheme, bits, coverage = (b if a is None else a for a, b in zip(given, usual, strict=True))
    return Combination(prune, scheme, bits, coverage)  # type: ignore[arg-type]
