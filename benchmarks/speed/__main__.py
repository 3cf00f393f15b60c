"""Seconds and bytes of writing and reading 90 million weights, with the package and with others.

    python -m benchmarks.speed [--words 30000] [--layers 6] [--runs 5] [--environments FOLDER] [--only NAME …] [--cpu]

In each run every method takes its turn, and times are compared within a run: the machine may be busy. Peers that do
not fit beside the package are measured in environments of their own, FOLDER/zipnn and FOLDER/nncodec; those that are
not there are skipped, and the command that makes them is printed.

With --cpu, seconds are those of the process on all its cores, which other processes change little.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.speed.methods import InProcess, Method, feedback_guides, others, ours, plans, torch_save
from benchmarks.speed.model import paper_transformer
from benchmarks.speed.peers.peer import Peer, peers
from benchmarks.speed.table import measured, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=30_000, help="of each vocabulary")
    parser.add_argument("--layers", type=int, default=6, help="of the encoder, and of the decoder")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--environments", type=Path, default=Path("environments"), help="folder of the peers")
    parser.add_argument("--only", nargs="*", help="methods whose names begin so; torch.save is always measured")
    parser.add_argument("--cpu", action="store_true", help="measure CPU time instead of wall time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = paper_transformer(options.words, options.layers)
    methods: list[Method] = [*others(), *(ours(*plan, workers) for plan in plans().items() for workers in (1, 2))]
    guided = ("grid, trellis of 8, feedback", plans()["grid, trellis of 8"])
    methods += [ours(*guided, workers, feedback_guides(state)) for workers in (1, 2)]
    methods += peers(options.environments)
    if options.only is not None:
        methods = [method for method in methods if method.name.startswith(tuple(options.only))]
    with tempfile.TemporaryDirectory() as folder:
        measuring = [torch_save(), *methods]
        if options.cpu:
            measuring = [replace(m, clock=time.process_time) if isinstance(m, InProcess) else m for m in measuring]
            measuring = [replace(m, cpu=True) if isinstance(m, Peer) else m for m in measuring]
        found = measured(measuring, state, Path(folder), options.runs, _tell)
    nbytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    kind = "CPU time" if options.cpu else "wall time"
    print(f"{nbytes // 4:,} weights, medians of {options.runs} runs, {kind}, torch {torch.__version__}\n")
    print("\n".join(rows(found, "torch.save", nbytes)))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
