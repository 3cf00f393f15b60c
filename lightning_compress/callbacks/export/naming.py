"""Names: the compressed file that belongs to a checkpoint, and the checkpoints that none belongs to."""

from __future__ import annotations

from os import PathLike, fspath

from lightning_compress.files import PARTIAL

CHECKPOINT_SUFFIX = ".ckpt"
SUFFIX = ".safetensors"
PARTIAL_SUFFIX = SUFFIX + PARTIAL
# The learning rate finder and the batch size finder save under these names and delete when they are through.
_TEMPORARY = (".lr_find_", ".scale_batch_size_")


def partner_of(checkpoint: str | PathLike[str]) -> str:
    """Path of the compressed file that belongs to a checkpoint.

    ``.ckpt`` is replaced, to anything else the suffix is appended: Lightning finds ``last`` by ``.ckpt`` and
    reads numbers out of what stands behind a stem, so neither may be part of our name.

    >>> partner_of("runs/epoch=3-step=400.ckpt")
    'runs/epoch=3-step=400.safetensors'
    >>> partner_of("runs/model")
    'runs/model.safetensors'
    """
    return fspath(checkpoint).rstrip("/").removesuffix(CHECKPOINT_SUFFIX) + SUFFIX


def checkpoints_of(partner: str | PathLike[str]) -> tuple[str, str]:
    """Paths of the checkpoints that a compressed file can belong to: with Lightning's ending, and without.

    >>> checkpoints_of("runs/last.safetensors")
    ('runs/last.ckpt', 'runs/last')
    """
    stem = fspath(partner).removesuffix(SUFFIX)
    return stem + CHECKPOINT_SUFFIX, stem


def is_temporary(checkpoint: str | PathLike[str]) -> bool:
    """Whether a tuner saves it only to restore it a moment later."""
    return fspath(checkpoint).replace("\\", "/").rpartition("/")[2].startswith(_TEMPORARY)
