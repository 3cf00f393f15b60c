"""Names of companion files, and of the checkpoints that they belong to."""

from __future__ import annotations

from os import PathLike, fspath

CHECKPOINT_SUFFIX = ".ckpt"
SUFFIX = ".safetensors"


def companion_of(checkpoint: str | PathLike[str]) -> str:
    """Path of the companion file of a checkpoint.

    The suffix takes the place of ``.ckpt``, or is appended. Lightning finds ``last`` by ``.ckpt`` and reads numbers
    after the stem of a name, so our names contain neither.

    >>> companion_of("runs/epoch=3-step=400.ckpt")
    'runs/epoch=3-step=400.safetensors'
    >>> companion_of("runs/model")
    'runs/model.safetensors'
    """
    return fspath(checkpoint).rstrip("/").removesuffix(CHECKPOINT_SUFFIX) + SUFFIX


def checkpoints_of(companion: str | PathLike[str]) -> tuple[str, str]:
    """Paths that the checkpoint of a companion file may have: with Lightning's suffix, and without.

    >>> checkpoints_of("runs/last.safetensors")
    ('runs/last.ckpt', 'runs/last')
    """
    stem = fspath(companion).removesuffix(SUFFIX)
    return stem + CHECKPOINT_SUFFIX, stem
