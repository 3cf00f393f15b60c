"""The model to compress, and BLEU of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def digest_of_tensors(state: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits of the SHA-256 over names, shapes and values (as float32), in the order of the names."""
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().to(torch.float32).contiguous()
        sha.update(f"{name}{tuple(tensor.shape)}".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()[:16]


def digest_of_files(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits of the SHA-256 over files, and the ``.py`` files of folders, each with its name."""
    sha = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            sha.update(file.relative_to(path.parent).as_posix().encode())
            sha.update(file.read_bytes())
    return sha.hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """One of the trained models.

    Attributes:
        kind: ``transformer`` or ``rnn``.
        yardstick: has ``state_dict()``, the trained fp32 weights, and ``bleu(state, split)``.
    """

    kind: str
    yardstick: Any

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The trained weights."""
        return dict(self.yardstick.state_dict())

    @cached_property
    def raw_bytes(self) -> int:
        """Bytes of the tensors as they are; ratios are relative to them."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state.values())

    @cached_property
    def digest(self) -> str:
        """Of the weights."""
        return digest_of_tensors(self.state)

    def bleu(self, state: Mapping[str, Tensor], split: str) -> float:
        """BLEU, 0 to 100, of other weights for the same model."""
        return float(self.yardstick.bleu(dict(state), split))
