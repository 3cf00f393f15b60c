"""NNCodec 2 (ISO/IEC 15938-17) over a sweep of its quantization parameter.

Dependent (trellis-coded) quantization, parameter optimization of the arithmetic coder and row skipping are on, as
``nncodec.nn.encode`` has them. One option is better than its default: tensors of one dimension at ``nonweight_qp`` −40
in place of −75 saves 1.2 % of a file at 14×. Measured and left out, because BLEU at equal bytes was lower or the same:
rate-distortion optimized quantization (``lambda_scale``; 2 % fewer bytes at equal error), ``opt_qp``, ``sparsity``, and
integer bit depths. Its data-driven tools need a training loop in NNCodec's own terms and are off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.rate_distortion.methods.method import Candidate, Method
from benchmarks.rate_distortion.peers.environment import CODE, environment, work
from benchmarks.rate_distortion.source import Source

SWEEPS = {"transformer": range(-29, -14), "rnn": range(-25, -9)}
OPTIONS: dict[str, object] = {"nonweight_qp": -40}


def method(folder: Path) -> Method:
    """NNCodec, with its environment in a folder."""

    def candidates(source: Source) -> Iterable[Candidate]:
        for qp in SWEEPS[source.kind]:
            yield candidate(source, partial(environment, folder), {"qp": qp, **OPTIONS})

    return Method("nncodec", candidates, (*CODE, Path(__file__)))


def candidate(source: Source, python: Callable[[], Path], options: Mapping[str, object]) -> Candidate:
    """One setting, coded and decoded in processes of their own; ``python`` gives their interpreter when they start."""

    def write(path: Path) -> None:
        weights = path.with_name("weights.npz")
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in source.state.items()}
        np.savez(weights, **arrays)
        work(python(), "encode", str(weights), str(path), json.dumps(options))
        weights.unlink()

    def read(path: Path) -> dict[str, Tensor]:
        weights = path.with_name("restored.npz")
        work(python(), "decode", str(path), str(weights))
        with np.load(weights) as arrays:
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        weights.unlink()
        return state

    return Candidate(" ".join(f"{name}={value}" for name, value in options.items()), write, read)
