"""Bytes of a file in a new buffer."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lightning_compress.runtime import empty


class Readable(Protocol):
    """Something of which parts can be read."""

    def read_into(self, start: int, target: memoryview) -> None:
        """Fill a buffer with the bytes from a position on."""


def bytes_at(source: Readable, start: int, nbytes: int) -> Tensor:
    """The bytes from a position on, ``[nbytes]`` uint8.

    Raises:
        ChangedFileError: as for :meth:`~lightning_compress.files.Source.read_into`.
    """
    values = empty([nbytes], torch.uint8)
    source.read_into(start, values.numpy().data)
    return values
