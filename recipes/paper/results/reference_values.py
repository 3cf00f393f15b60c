"""The values the reference paper reports, each with its table, figure or section.

Lin Ye, Jiang Yufan, Li Hengyu, Xiao Tong: "On Storage Compression of Neural Machine Translation", Journal of Chinese
Information Processing 33(1), 2019. BLEU is that of MT06 by ``multi-bleu.pl``, Chinese to English; sizes are 10⁶ bytes.
Only numbers from tables and text are included; values are not read off curves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

BLIND, UNIFORM = "class-blind", "class-uniform"
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)  # table 1, the heads of its columns
COVERAGE = 0.98  # tables 2 and 3: share of the weights inside the interval
RUIN_BITS, RUIN_COVERAGE = 4, 0.991  # figure 6: with left or right, up to these bits, the Transformer has about 0 BLEU
WIDE_BITS, WIDE_COVERAGE = 8, 0.99  # figure 7: at these bits both models keep more than this share inside


@dataclass(frozen=True)
class Step:
    """A row of table 2 or 3: the model after one more step of the combination.

    Attributes:
        label: the step and its settings.
        bleu: BLEU of the model.
        megabytes: its size by the paper's formula, 10⁶ bytes.
        ratio: size before over size now, as printed.
    """

    label: str
    bleu: float
    megabytes: int
    ratio: float


@dataclass(frozen=True)
class PaperModel:
    """A model of the paper.

    Attributes:
        title: architecture, and layers of each side.
        combination: table 2 or 3, from the uncompressed model on.
        pruning: scheme → BLEU at each of :data:`SHARES` (table 1, drawn in figure 4); empty where not reported.
        lossless: scheme → largest share that the text to table 1 calls free of loss.
        together: BLEU with every class pruned at its own largest share (text to figure 5), where reported.
    """

    title: str
    combination: tuple[Step, ...]
    pruning: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    lossless: Mapping[str, float] = field(default_factory=dict)
    together: float | None = None

    @property
    def bleu(self) -> float:
        """BLEU of the uncompressed model (section 2)."""
        return self.combination[0].bleu

    def pruning_changes(self, scheme: str) -> dict[float, float]:
        """Share → BLEU less that of the uncompressed model (table 1); empty where the scheme is not reported."""
        if scheme not in self.pruning:
            return {}
        return {s: round(b - self.bleu, 2) for s, b in zip(SHARES, self.pruning[scheme], strict=True)}

    @property
    def together_change(self) -> float | None:
        """:attr:`together` less BLEU of the uncompressed model."""
        return None if self.together is None else round(self.together - self.bleu, 2)


MODELS = {
    "transformer": PaperModel(
        "Transformer, 6 + 6 layers",
        combination=(  # table 2
            Step("baseline", 41.76, 362, 1.0),
            Step("prune 15 %", 41.94, 308, 1.2),
            Step("+ quantize (6 bits, 98 %)", 41.50, 65, 5.6),
            Step("+ half precision", 41.57, 62, 5.8),
        ),
        pruning={
            BLIND: (41.76, 41.81, 41.94, 41.61, 41.39, 40.80, 39.88, 38.02, 34.49, 24.16),
            UNIFORM: (41.76, 41.67, 42.07, 41.94, 41.52, 41.28, 39.82, 38.84, 36.41, 29.75),
        },
        lossless={BLIND: 0.15, UNIFORM: 0.15},
        together=41.65,
    ),
    "rnn-2": PaperModel(
        "RNN, 2 + 2 layers",
        combination=(  # table 2
            Step("baseline", 39.55, 537, 1.0),
            Step("prune 40 %", 39.50, 323, 1.6),
            Step("+ quantize (4 bits, 98 %)", 39.44, 51, 10.5),
            Step("+ half precision", 39.43, 46, 11.7),
        ),
        pruning={
            BLIND: (39.55, 39.52, 39.70, 39.48, 39.47, 39.50, 39.36, 39.46, 39.50, 39.04),
            UNIFORM: (39.55, 39.42, 39.57, 39.61, 39.52, 39.70, 39.42, 39.42, 39.10, 39.16),
        },
        lossless={BLIND: 0.4, UNIFORM: 0.25},
        together=39.07,
    ),
    "rnn-4": PaperModel(
        "RNN, 4 + 4 layers",
        combination=(  # table 3
            Step("baseline", 40.37, 648, 1.0),
            Step("prune 45 %", 40.35, 357, 1.8),
            Step("+ quantize (4 bits, 98 %)", 40.33, 58, 11.3),
            Step("+ half precision", 40.34, 51, 12.7),
        ),
    ),
    "rnn-8": PaperModel(
        "RNN, 8 + 8 layers",
        combination=(  # table 3
            Step("baseline", 38.10, 1048, 1.0),
            Step("prune 35 %", 38.00, 682, 1.5),
            Step("+ quantize (4 bits, 98 %)", 37.91, 107, 9.8),
            Step("+ half precision", 37.96, 97, 10.9),
        ),
    ),
}


def paper_model(name: str) -> PaperModel | None:
    """Find the paper's model for a name: one with ``Transformer`` in it, or with ``RNN`` and the layers of a side.

    ``RNN 4``, ``rnn-4`` and ``RNN4 on Multi30k`` mean that of 4 layers; without a number 2 are meant. None where the
    name says neither, or the paper has no RNN of so many layers.
    """
    lower = name.lower()
    if "transformer" in lower:
        return MODELS["transformer"]
    layers = re.search(r"rnn[\s_-]*(\d+)?", lower)
    return MODELS.get(f"rnn-{layers[1] or 2}") if layers else None
