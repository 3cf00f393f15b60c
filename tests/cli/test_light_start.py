"""What commands do not import, so that they start at once."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch

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


def test_a_checkpoint_is_compressed_and_reported_without_sympy(tmp_path: Path) -> None:
    """Of a subclass of Tensor torch imports it before the first operation, which takes most of a second."""
    module = torch.nn.Sequential(torch.nn.Linear(60, 60), torch.nn.BatchNorm1d(60))
    torch.save({"state_dict": module.state_dict()}, tmp_path / "model.ckpt")
    script = (
        "import sys; from contextlib import suppress; from lightning_compress.cli import main\n"
        "for arguments in ('compress model.ckpt --plan paper-rnn', 'report model.compressed.safetensors'):\n"
        "    sys.argv = ['lightning-compress', *arguments.split()]\n"
        "    with suppress(SystemExit): main()\n"
        "    print('sympy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.count("False\n") == 2, run.stdout


def test_types_are_offered_to_users() -> None:
    assert (Path(lightning_compress.__file__).parent / "py.typed").is_file()
