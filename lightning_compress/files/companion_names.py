"""Names of companion files, and of the checkpoints that they belong to."""

from __future__ import annotations

from os import PathLike, fspath

CHECKPOINT_SUFFIX = ".ckpt"
SUFFIX = ".compressed.safetensors"
EARLIER_SUFFIX = ".safetensors"  # of companion files before version 4 of the format; every companion file ends in it


def companion_of(checkpoint: str | PathLike[str]) -> str:
    """Path of the companion file of a checkpoint.

    The suffix takes the place of ``.ckpt``, or is appended. Lightning finds ``last`` by ``.ckpt`` and reads numbers
    after the stem of a name, so our names contain neither.

    >>> companion_of("runs/epoch=3-step=400.ckpt")
    'runs/epoch=3-step=400.compressed.safetensors'
    >>> companion_of("runs/model")
    'runs/model.compressed.safetensors'
    """
    return fspath(checkpoint).rstrip("/").removesuffix(CHECKPOINT_SUFFIX) + SUFFIX


def earlier_name(companion: str) -> str | None:
    """Path that a companion file had before version 4 of the format; None if another file could have it now.

    >>> earlier_name("runs/last.compressed.safetensors")
    'runs/last.safetensors'
    """
    earlier = companion.removesuffix(SUFFIX) + EARLIER_SUFFIX
    return None if not companion.endswith(SUFFIX) or earlier.endswith(SUFFIX) else earlier


def is_companion_name(path: str | PathLike[str]) -> bool:
    """Whether a companion file may have this path, under its name of today or under its earlier one."""
    return fspath(path).endswith(EARLIER_SUFFIX)


def checkpoints_of(companion: str | PathLike[str]) -> tuple[str, ...]:
    """Paths that the checkpoint of a companion file may have: with Lightning's suffix, and without.

    >>> checkpoints_of("runs/last.compressed.safetensors")
    ('runs/last.ckpt', 'runs/last', 'runs/last.compressed.ckpt', 'runs/last.compressed')
    >>> checkpoints_of("runs/last.safetensors")
    ('runs/last.ckpt', 'runs/last')
    """
    path = fspath(companion)
    suffixes = [suffix for suffix in (SUFFIX, EARLIER_SUFFIX) if path.endswith(suffix)]
    stems = [path.removesuffix(suffix) for suffix in suffixes or [""]]
    return tuple(stem + suffix for stem in stems for suffix in (CHECKPOINT_SUFFIX, ""))
