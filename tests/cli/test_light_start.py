"""What starts at once: the import of the package, and the version on the command line."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import lightning_compress

HEAVY = ("torch", "numpy", "typer", "rich", "numba", "lightning", "pytorch_lightning", "wandb")


def test_the_import_and_the_version_import_no_library() -> None:
    script = (
        "import sys, lightning_compress; sys.argv = ['lightning-compress', '--version']; "
        "from lightning_compress.cli import main; main(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n") == [metadata.version("lightning-compress"), "[]", ""]


def test_types_are_offered_to_users() -> None:
    assert (Path(lightning_compress.__file__).parent / "py.typed").is_file()
