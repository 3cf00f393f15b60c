"""Names of compressed files, and what Lightning makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_compress.callbacks.hooks.model_checkpoints import is_temporary
from lightning_compress.files.companion_names import checkpoints_of, companion_of

CASES = {
    "run/epoch=3-step=40.ckpt": "run/epoch=3-step=40.compressed.safetensors",
    "run/last-v1.ckpt": "run/last-v1.compressed.safetensors",
    "run/plain": "run/plain.compressed.safetensors",
    "run/a.b": "run/a.b.compressed.safetensors",
    "run/a.ckpt.ckpt": "run/a.ckpt.compressed.safetensors",
    "run/sharded.ckpt/": "run/sharded.compressed.safetensors",
    "run/model.safetensors": "run/model.safetensors.compressed.safetensors",
    "memory://bucket/x.ckpt": "memory://bucket/x.compressed.safetensors",
}


@pytest.mark.parametrize(("checkpoint", "companion"), CASES.items())
def test_a_checkpoint_names_its_companion_and_the_companion_its_checkpoint(checkpoint, companion):
    assert companion_of(checkpoint) == companion
    assert checkpoint.rstrip("/") in checkpoints_of(companion)


def test_paths_are_taken_as_well():
    assert companion_of(Path("run") / "x.ckpt") == str(Path("run") / "x.compressed.safetensors")


@pytest.mark.parametrize("name", [".lr_find_0c.ckpt", ".scale_batch_size_7.ckpt"])
def test_what_the_tuners_save_is_temporary(name):
    assert is_temporary(name)
    assert is_temporary(f"run/{name}")
    assert is_temporary(f"run\\{name}")


@pytest.mark.parametrize("name", ["lr_find_0.ckpt", "epoch=1.ckpt", "run.lr_find_/last.ckpt", ".hidden.ckpt"])
def test_other_names_are_not(name):
    assert not is_temporary(name)
