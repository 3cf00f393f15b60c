"""Whether a companion file is there and holds the weights of its checkpoint."""

from __future__ import annotations

import os

from lightning_compress import files
from lightning_compress.archive import Archive, is_archive
from lightning_compress.callbacks.export.companions.companion_files import find
from lightning_compress.callbacks.hooks.model_checkpoints import is_temporary
from lightning_compress.compression import is_made_from, read_weights
from lightning_compress.errors import FormatError
from lightning_compress.files.companion_names import CHECKPOINT_SUFFIX, companion_of


def is_checkpoint(path: str) -> bool:
    """Whether a path is named like a checkpoint, exists, and is none that a tuner saves for itself."""
    return path.endswith(CHECKPOINT_SUFFIX) and not is_temporary(path) and files.exists(path)


def is_current(checkpoint: str) -> bool:
    """Whether the companion file of a checkpoint is there and holds its weights.

    It does if it was written after the checkpoint was last changed. If the times say anything else (the checkpoint is
    newer, both are equal, a clock was set back, the folder was copied), the weights are compared. A link is compared by
    what it leads to: the file of another checkpoint may be newer, too.

    Raises:
        WeightsError: the checkpoint cannot be read.
        OSError: a file cannot be read.
    """
    companion = find(companion_of(checkpoint))
    if not is_archive(companion):
        return False
    linked = linked_companion(checkpoint)
    if linked is not None and files.local_path(companion).is_symlink():
        return files.normalized_path(os.path.realpath(files.local_path(companion))) == files.normalized_path(linked)
    if files.is_written_after(companion, checkpoint):
        return True
    try:
        manifest = Archive.open(companion).manifest
    except FormatError:
        return False
    return is_made_from(manifest, read_weights(checkpoint).state_dict())


def linked_companion(checkpoint: str) -> str | None:
    """For a checkpoint that is a link: the companion file of the checkpoint that it leads to; None for others."""
    if files.is_remote(checkpoint) or not files.local_path(checkpoint).is_symlink():
        return None
    companion = companion_of(files.local_path(checkpoint).resolve())
    return find(companion) if companion != companion_of(checkpoint) else None
