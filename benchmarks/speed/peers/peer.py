"""A peer in an environment of its own: each run is one process, which times itself without its start."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.methods import State, Timing, mean_squared_error

WORKER = Path(__file__).parent / "worker.py"
ROOT = WORKER.parents[3]


class AbsentError(Exception):
    """The environment of a peer is not there; the text says how to make it."""


@dataclass(frozen=True)
class Peer:
    """A program that codes the arrays of a file.

    Attributes:
        name: in the table.
        program: what the worker calls it.
        python: the interpreter of its environment.
        how_to_make: a command that makes the environment.
        cpu: whether CPU time is measured instead of wall time.
    """

    name: str
    program: str
    python: Path
    how_to_make: str
    cpu: bool = False

    def run(self, state: State, folder: Path) -> Timing:
        """See :class:`~benchmarks.speed.methods.Method`.

        Raises:
            AbsentError: the environment is not there.
            RuntimeError: the program failed.
        """
        if not self.python.exists():
            raise AbsentError(f"{self.python} is not there; {self.how_to_make}")
        source, restored = folder / "source.npz", folder / "restored.npz"
        np.savez(source, **{name: tensor.numpy() for name, tensor in state.items()})
        command = [
            str(self.python),
            str(WORKER),
            self.program,
            str(source),
            str(restored),
            str(folder / "coded"),
            "cpu" if self.cpu else "wall",
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        found = json.loads(done.stdout.splitlines()[-1])
        with np.load(restored) as arrays:
            error = mean_squared_error(state, {name: torch.from_numpy(arrays[name]) for name in arrays.files})
        return Timing(found["encode"], found["decode"], found["bytes"], error)


def peers(environments: Path) -> list[Peer]:
    """ZipNN and NNCodec, in folders of these names."""
    zipnn, nncodec = environments / "zipnn", environments / "nncodec"
    of_zipnn = f"python -m venv {zipnn} && {zipnn}/bin/pip install -r {WORKER.parent / 'zipnn.txt'}"
    of_nncodec = f"python -m benchmarks.rate_distortion makes it, with --environment {nncodec}"
    return [
        Peer("ZipNN 0.5.4", "zipnn", zipnn / "bin" / "python", of_zipnn),
        Peer("NNCodec 2.1.3, trellis", "nncodec-trellis", nncodec / "bin" / "python", of_nncodec),
        Peer("NNCodec 2.1.3", "nncodec", nncodec / "bin" / "python", of_nncodec),
    ]
