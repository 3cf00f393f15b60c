"""How long a new process takes to import the package and load a file, beside importing torch alone.

    python -m benchmarks.speed.first_load [--runs 7]

A file of a quarter of a million weights. Each kind of process takes its turn; medians of wall time. Compiled loops are
in numba's cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import lightning_compress as lc

PROGRAMS = {
    "import torch": "import torch",
    "import lightning_compress": "import lightning_compress",
    "load a file": "import sys, lightning_compress; lightning_compress.load(sys.argv[1])",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        lc.compress({"layer.weight": torch.randn(512, 512)}, "small").save(path)
        for _ in range(options.runs + 1):
            for name, program in PROGRAMS.items():
                began = time.perf_counter()
                subprocess.run([sys.executable, "-c", program, str(path)], check=True)
                found[name].append(time.perf_counter() - began)
    print("| process | seconds | over import torch |\n|---|---|---|")
    base = statistics.median(found["import torch"][1:])  # the first run reads from the disk
    for name, seconds in found.items():
        print(f"| {name} | {statistics.median(seconds[1:]):.2f} | {statistics.median(seconds[1:]) / base:.2f} |")


if __name__ == "__main__":
    main()
