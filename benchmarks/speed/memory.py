"""Peak memory of writing and of loading, beyond what the process has before; of 90 million weights.

    python -m benchmarks.speed.memory [--words 30000] [--layers 6] [--plan paper-transformer]

Each figure is that of a process of its own, on Linux. Loops are compiled and modules imported before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import lightning_compress as lc
from benchmarks.peak_memory import beyond
from benchmarks.speed.model import paper_transformer
from lightning_compress.runtime import limited_workers


def measured(what: str, plan: str, path: Path, words: int, layers: int) -> int:
    """Bytes of writing a file, or of loading it, in this process."""
    small = path.with_name("small.safetensors")
    lc.compress(paper_transformer(1000, 1), plan).save(small)
    lc.load(small)
    if what == "load":
        return beyond(lambda: lc.load(path))
    state = paper_transformer(words, layers)
    return beyond(lambda: lc.compress(state, plan).save(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=30_000, help="of each vocabulary")
    parser.add_argument("--layers", type=int, default=6, help="of the encoder, and of the decoder")
    parser.add_argument("--plan", default="paper-transformer")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)  # the rest is for the processes started here
    parser.add_argument("--what", choices=["write", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what:
        with limited_workers(options.threads):
            print(measured(options.what, options.plan, options.path, options.words, options.layers))
        return
    print("| threads | write, MB | load, MB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for threads in (1, 2):
            given = ["--threads", str(threads), "--path", f"{folder}/weights.safetensors"]
            found = []
            for what in ("write", "load"):
                command = [sys.executable, "-m", "benchmarks.speed.memory", *sys.argv[1:], *given, "--what", what]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(int(done.stdout) / 1e6)
            print(f"| {threads} | {found[0]:.0f} | {found[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
