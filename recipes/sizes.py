"""Parameter counts of the paper-size configurations beside the counts the paper reports."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table

from lightning_compress.loading import resolve_class
from recipes.data.vocabulary import SPECIALS
from recipes.translation import Translation

BYTES = 4  # of a weight before compression: fp32


@dataclass(frozen=True)
class Size:
    """A model of the paper.

    Attributes:
        config: file in ``recipes/configs``, without ending.
        megabytes: size the paper reports (its tables 2 and 3), 10⁶ bytes.
        millions: weights the paper reports, where it does, in millions.
        weights: weights our model has with full vocabularies.
    """

    config: str
    megabytes: int
    millions: int | None
    weights: int

    @property
    def our_megabytes(self) -> float:
        """Size of our weights in fp32, 10⁶ bytes."""
        return self.weights * BYTES / 1e6


REPORTED = (
    ("transformer-paper", 362, 90),
    ("rnn-2-paper", 537, 134),
    ("rnn-4-paper", 648, None),
    ("rnn-8-paper", 1048, None),
)


def sizes() -> tuple[Size, ...]:
    """Count the weights of each paper-size configuration; no memory is taken for them."""
    return tuple(Size(name, megabytes, millions, count(name)) for name, megabytes, millions in REPORTED)


def count(config: str) -> int:
    """Weights of the network of ``recipes/configs/CONFIG.yaml``, both vocabularies as large as they may be."""
    text = (files("recipes") / "configs" / f"{config}.yaml").read_text("utf-8")
    settings: dict[str, Any] = yaml.safe_load(text)
    words = settings["data"]["max_words"] + len(SPECIALS)
    model = settings["model"]
    with torch.device("meta"):
        module = resolve_class(model["class_path"], ("recipes.*",))(words, words, **model["init_args"])
    if not isinstance(module, Translation):
        raise TypeError(f"{config} names {model['class_path']}: expected a translation module of the recipes")
    return sum(weight.numel() for weight in module.network.parameters())


def table(rows: tuple[Size, ...]) -> Table:
    """The counts beside the paper's, in millions of weights and in megabytes of fp32."""
    out = Table(
        title="Weights of the paper-size models",
        caption="MB: 10⁶ bytes in fp32. The paper's RNNs fit no single architecture: a layer of encoder and decoder "
        "adds 56 MB from 2 to 4 layers, 100 MB from 4 to 8.",
    )
    for heading in ("configuration", "weights", "paper", "MB", "paper MB", "difference"):
        out.add_column(heading, justify="left" if heading == "configuration" else "right")
    for row in rows:
        paper = "–" if row.millions is None else f"{row.millions} M"
        out.add_row(
            row.config,
            f"{row.weights / 1e6:.1f} M",
            paper,
            f"{row.our_megabytes:.0f}",
            f"{row.megabytes}",
            f"{row.our_megabytes / row.megabytes - 1:+.1%}",
        )
    return out


def main(arguments: list[str]) -> None:
    """``sizes``: print the table."""
    argparse.ArgumentParser(
        prog="python -m recipes sizes", description="Weights of the paper-size models, beside the paper's counts."
    ).parse_args(arguments)
    Console(highlight=False).print(table(sizes()))
