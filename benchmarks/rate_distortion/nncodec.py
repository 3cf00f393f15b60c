"""NNCodec 2 (ISO/IEC 15938-17) over a sweep of its quantization parameter.

Dependent (trellis-coded) quantization, parameter optimization of the arithmetic coder and row skipping are on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rate_distortion.method import Candidate, Method
from benchmarks.rate_distortion.peers.environment import CODE, environment, work
from benchmarks.rate_distortion.source import Source

SWEEPS = {"transformer": range(-29, -14), "rnn": range(-25, -10)}
OPTIONS: dict[str, object] = {"nonweight_qp": -40}


def method(folder: Path) -> Method:
    """NNCodec, with its environment in a folder."""

    def candidates(source: Source) -> Iterable[Candidate]:
        for qp in SWEEPS[source.kind]:
            yield candidate(source, environment(folder), {"qp": qp, **OPTIONS})

    return Method("nncodec", candidates, (*CODE, Path(__file__)))


def candidate(source: Source, python: Path, options: Mapping[str, object]) -> Candidate:
    """One setting, coded and decoded in processes of their own."""

    def write(path: Path) -> None:
        weights = path.with_name("weights.npz")
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in source.state.items()}
        np.savez(weights, **arrays)
        work(python, "encode", str(weights), str(path), json.dumps(options))
        weights.unlink()

    def read(path: Path) -> dict[str, Tensor]:
        weights = path.with_name("restored.npz")
        work(python, "decode", str(path), str(weights))
        with np.load(weights) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        weights.unlink()
        return state

    return Candidate(" ".join(f"{name}={value}" for name, value in options.items()), write, read)
