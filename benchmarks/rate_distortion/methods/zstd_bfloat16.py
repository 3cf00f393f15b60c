"""bfloat16, rounded to nearest, in a safetensors file under Zstandard at level 19."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import safetensors.torch
import torch
import zstandard
from torch import Tensor

from benchmarks.rate_distortion.methods.method import Candidate, Method
from benchmarks.rate_distortion.source import Source


def candidates(source: Source) -> Iterable[Candidate]:
    """One: what a few lines of code give."""

    def write(path: Path) -> None:
        halves = {name: tensor.to(torch.bfloat16) for name, tensor in source.state.items()}
        path.write_bytes(zstandard.ZstdCompressor(level=19).compress(safetensors.torch.save(halves)))

    yield Candidate("level 19", write, _read)


def _read(path: Path) -> dict[str, Tensor]:
    return safetensors.torch.load(zstandard.ZstdDecompressor().decompress(path.read_bytes()))


METHOD = Method("bfloat16 + zstd", candidates, (Path(__file__),))
