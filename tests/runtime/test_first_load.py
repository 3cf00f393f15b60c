"""The first file that a process loads."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lightning_compress import compress
from lightning_compress.garbage import collection_paused

PROGRAM = """
import gc, sys
imported = []

class Finder:
    def find_spec(self, name, *_):
        if name in ("numba", "torch", "lightning_compress.archive.reader"):
            imported.append((name, gc.isenabled()))

sys.meta_path.insert(0, Finder())
import lightning_compress
lightning_compress.load(sys.argv[1])
print(sorted(imported), gc.isenabled())
"""


def test_the_garbage_collector_waits_while_modules_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    torch.manual_seed(0)
    compress({"weight": torch.randn(64, 64)}, "small").save(path)
    found = subprocess.run([sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True)
    assert (
        found.stdout.strip()
        == "[('lightning_compress.archive.reader', False), ('numba', False), ('torch', False)] True"
    )


def test_the_collector_is_as_before_after_an_error_too() -> None:
    def fail() -> None:
        with collection_paused():
            assert not gc.isenabled()
            raise ValueError("inside")

    for was_on in (True, False):
        (gc.enable if was_on else gc.disable)()
        try:
            with pytest.raises(ValueError, match="inside"):
                fail()
            assert gc.isenabled() == was_on
        finally:
            gc.enable()
