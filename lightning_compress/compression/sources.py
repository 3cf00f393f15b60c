"""Checkpoints of any kind that can be compressed: those of :mod:`..weights`, and exact compressed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath

from lightning_compress.archive import is_archive
from lightning_compress.errors import WeightsError
from lightning_compress.resumable import is_resumable, read_file
from lightning_compress.weights import Weights
from lightning_compress.weights.reading.checkpoint import Checkpoint, read_checkpoint
from lightning_compress.weights.reading.state_dicts import find_state_dict


def checkpoint_at(path: str | PathLike[str], *, key: str | None = None, deferred: bool = False) -> Checkpoint:
    """The state dict and the other entries of a checkpoint.

    Arguments and errors are those of :func:`~lightning_compress.weights.reading.checkpoint.read_checkpoint`; of an
    exact compressed checkpoint all is read.
    """
    if not is_archive(path):
        return read_checkpoint(fspath(path), key, deferred=deferred)
    if not is_resumable(path):
        raise WeightsError(
            f"{path} is a compressed file already. To compress its weights once more, expand it first; better compress "
            "the checkpoint it was made from."
        )
    content = read_file(path)
    state = find_state_dict(content, key, fspath(path))
    return Checkpoint(state, {name: value for name, value in content.items() if value is not state})


def read_weights(
    path: str | PathLike[str],
    *,
    exclude: Sequence[str] = (),
    classes: Mapping[str, str | Sequence[str]] | None = None,
    key: str | None = None,
) -> Weights:
    """The weights of a checkpoint, whose values are read when they are needed.

    Arguments as for :meth:`Weights.from_checkpoint`.

    Raises:
        WeightsError: it is a compressed file of a plan, or cannot be taken (see :meth:`Weights.from_checkpoint`).
    """
    return Weights.of_checkpoint(checkpoint_at(path, key=key, deferred=True), exclude=exclude, classes=classes)
