"""Whether the time of compressing and loading grows in proportion to the weights: from one million to a billion.

    python -m benchmarks.speed.linear [--plan paper-transformer] [--millions 1 4 16 64 256 1000]

Matrices of a million normal weights, CPU time of one thread. In the end the slope of log time over log weights: 1 where
time is proportional.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import lightning_compress as lc
from lightning_compress.runtime import limited_workers

SIDE = 1000


def seconds(millions: int, plan: str, path: Path) -> tuple[float, float]:
    """CPU seconds of writing, reading back included, and of loading so many million weights."""
    generator = torch.Generator().manual_seed(0)
    state = {f"layers.{i}.weight": 0.04 * torch.randn(SIDE, SIDE, generator=generator) for i in range(millions)}
    began = time.process_time()
    lc.compress(state, plan).save(path)
    written = time.process_time()
    del state
    reading = time.process_time()
    lc.load(path)
    return written - began, time.process_time() - reading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", default="paper-transformer")
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| million weights | write, s | load, s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, limited_workers(1):
        path = Path(folder) / "weights.safetensors"
        seconds(options.millions[0], options.plan, path)  # compiles the loops
        found = []
        for millions in options.millions:
            found.append(seconds(millions, options.plan, path))
            print(f"| {millions} | {found[-1][0]:.3f} | {found[-1][1]:.3f} |", flush=True)
    slopes = np.polyfit(np.log(options.millions), np.log(found), 1)[0]
    print(f"\nslope of log time over log weights: write {slopes[0]:.3f}, load {slopes[1]:.3f}")


if __name__ == "__main__":
    main()
