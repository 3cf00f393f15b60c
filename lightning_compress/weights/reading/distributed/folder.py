"""Tensors of a folder that ``torch.distributed.checkpoint`` wrote, read when they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from lightning_compress.errors import WeightsError
from lightning_compress.files import ChangedFileError, Source, SourcePart, entry_of, file_size
from lightning_compress.weights.deferred import DeferredTensor, contiguous_strides
from lightning_compress.weights.reading.distributed.metadata import Key, Piece, Place, StoredTensor, read_metadata
from lightning_compress.weights.reading.file_kinds import damage
from lightning_compress.weights.reading.opcodes import checked_pickle
from lightning_compress.weights.reading.torch_file import TorchFile

METADATA = ".metadata"
_MOST_OPEN = 64  # files; a rank of a training writes one or more


class DistributedFolder:
    """A folder of ``.metadata`` and the files that it names.

    What lies in the files is read when it is needed. They must not be changed meanwhile.

    Args:
        folder: local or remote. Of remote files each part is transferred when it is needed, each time anew.

    Attributes:
        nbytes: of all files that are named.

    Raises:
        WeightsError: the metadata are damaged, a file is missing or too short, or pieces overlap.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._metadata = folder, entry_of(folder, METADATA)
        metadata = Source(self._metadata)
        try:
            self._contents = read_metadata(checked_pickle(metadata.as_file()))
        except WeightsError as error:
            raise WeightsError(f"{self._metadata} {error}") from error
        self._sizes: dict[str, int] = {}
        self._check_places()
        self.nbytes = sum(self._sizes.values())
        self._open = lru_cache(_MOST_OPEN)(lambda file: Source(entry_of(folder, file), whole=False))

    @cached_property
    def content(self) -> dict[Any, Any]:
        """What was saved: nested dictionaries of deferred tensors and of :class:`Place`; lists have positions as keys.

        Raises:
            WeightsError: an entry is said to be within another one.
        """
        content: dict[Any, Any] = {}
        for key, stored in self._contents.items():
            inner = content
            for part in key[:-1]:
                inner = inner.setdefault(part, {})
            if not isinstance(inner, dict) or key[-1] in inner:
                raise WeightsError(f"{self._metadata} gives two entries one name: it is damaged")
            inner[key[-1]] = self._deferred(key, stored) if isinstance(stored, StoredTensor) else stored
        return content

    def value(self, place: Place) -> Any:  # Any: whatever was saved
        """A value that is no tensor, as placeholders and plain values."""
        return self._file(place).content

    def _deferred(self, key: Key, stored: StoredTensor) -> DeferredTensor:
        strides = contiguous_strides(stored.shape)
        return DeferredTensor(
            lambda: self._values(key, stored), stored.dtype, stored.shape, strides, memory=(self, key)
        )

    def _values(self, key: Key, stored: StoredTensor) -> Tensor:
        name = ".".join(map(str, key))
        with damage(f"{self._folder}: {name!r}"):
            if len(stored.pieces) == 1:
                return self._piece(stored, stored.pieces[0]).contiguous()
            values = torch.empty(stored.shape, dtype=stored.dtype)
            for piece in stored.pieces:
                box = tuple(slice(a, a + n) for a, n in zip(piece.offsets, piece.sizes, strict=True))
                values[box] = self._piece(stored, piece)
            return values

    def _piece(self, stored: StoredTensor, piece: Piece) -> Tensor:
        file = self._file(piece.place)
        tensor = file.tensor(file.content)
        if tensor.dtype != stored.dtype or tuple(tensor.shape) != piece.sizes:
            raise WeightsError(
                f"in {piece.place.file} has a piece of {tensor.dtype} and shape {list(tensor.shape)}, expected "
                f"{stored.dtype} and {list(piece.sizes)}: the folder is damaged, or of several saves"
            )
        return tensor

    def _file(self, place: Place) -> TorchFile:
        source = self._open(place.file)
        if source.nbytes != self._sizes[place.file]:
            raise ChangedFileError(f"{source.path} was changed while it was read: read it again when it is complete")
        return TorchFile(SourcePart(source, place.start, place.nbytes))

    def _check_places(self) -> None:
        """Refuse bytes that are missing, or that several entries share: a short folder could take any memory."""
        ends: dict[str, int] = {}
        for place in sorted(self._places()):
            if place.file not in self._sizes:
                size = file_size(entry_of(self._folder, place.file))
                if size is None:
                    raise WeightsError(f"{self._folder} lacks {place.file}: copy the whole folder")
                self._sizes[place.file] = size
            if place.start < ends.get(place.file, 0):
                raise WeightsError(f"{self._metadata} names bytes of {place.file} twice: it is damaged")
            ends[place.file] = place.start + place.nbytes
            if ends[place.file] > self._sizes[place.file]:
                raise WeightsError(
                    f"{entry_of(self._folder, place.file)} has {self._sizes[place.file]:,} bytes, expected at least "
                    f"{ends[place.file]:,}: copy it again"
                )
        for key, stored in self._contents.items():
            if isinstance(stored, StoredTensor):
                _check_sizes(key, stored, self._metadata)

    def _places(self) -> Iterator[Place]:
        for stored in self._contents.values():
            if isinstance(stored, Place):
                yield stored
            else:
                yield from (piece.place for piece in stored.pieces)


def _check_sizes(key: Key, stored: StoredTensor, metadata: str) -> None:
    for piece in stored.pieces:
        nbytes = stored.dtype.itemsize * math.prod(piece.sizes)
        if nbytes > piece.place.nbytes:
            raise WeightsError(
                f"{metadata} gives {'.'.join(map(str, key))!r} {piece.place.nbytes:,} bytes, expected "
                f"{nbytes:,}: it is damaged"
            )
