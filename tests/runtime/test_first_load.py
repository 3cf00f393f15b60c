"""The first file that a process loads."""

import subprocess
import sys
from pathlib import Path

import torch

from lightning_compress import compress

PROGRAM = """
import gc, sys, torch
imported = []

class Finder:
    def find_spec(self, name, *_):
        if name in ("numba", "lightning_compress.archive.reader"):
            imported.append((name, gc.isenabled()))

sys.meta_path.insert(0, Finder())
import lightning_compress
lightning_compress.load(sys.argv[1])
print(sorted(imported), gc.isenabled())
"""


def test_the_garbage_collector_waits_while_modules_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    compress({"weight": torch.randn(64, 64)}, "small").save(path)
    found = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[('lightning_compress.archive.reader', False), ('numba', False)] True"
