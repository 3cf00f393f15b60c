"""A smaller model of the same kind, trained on the translations' words and on the outputs of the exact model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn


def smaller(yardstick: Any, width: int, layers: int | None = None) -> nn.Module:
    """An untrained model with the vocabularies of a yardstick's.

    Args:
        yardstick: the JSON file beside its weights holds ``source`` and ``target``, the words, and ``size``, the
            arguments of its model.
        width: of the vectors; the feed-forward layers become narrower in the same proportion.
        layers: of encoder and decoder; None for as many.
    """
    meta = json.loads(Path(yardstick.path).with_suffix(".json").read_text(encoding="utf-8"))
    size = dict(meta["size"])
    if "ffn" in size:
        size["ffn"] = size["ffn"] * width // size["d"]
    size |= {"d": width} | ({} if layers is None else {"layers": layers})
    student: nn.Module = type(yardstick.model)(len(meta["source"]), len(meta["target"]), **size)
    return student


def with_student(yardstick: Any, width: int, layers: int | None) -> Any:
    """The yardstick with an untrained student in place of its model."""
    yardstick.model = smaller(yardstick, width, layers)
    return yardstick
