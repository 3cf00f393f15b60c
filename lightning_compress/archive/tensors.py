"""The tensors of an archive as a mapping that decodes one when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from lightning_compress.archive.encode import decode_tensor
from lightning_compress.archive.manifest.spec import Manifest
from lightning_compress.runtime import one_thread
from lightning_compress.weights.deferred import DeferredTensor, contiguous_strides


class Tensors(Mapping[str, Tensor]):
    """Name → tensor, tied ones included. Each is decoded when it is asked for, and again the next time.

    Args:
        manifest: of the archive.
        coded: its coded bytes.
    """

    def __init__(self, manifest: Manifest, coded: Mapping[str, bytes | memoryview]) -> None:
        self._entries = {entry.name: entry for entry in manifest.entries}
        self._ties, self._coded = manifest.ties, coded

    def __getitem__(self, name: str) -> Tensor:
        """The values of a tensor; a tied one as a view of a copy of the tensor that it is tied to.

        Raises:
            KeyError: there is no such tensor.
            FormatError, ChecksumError: it is damaged.
        """
        tie = self._ties.get(name)
        if tie is not None:
            return tie.view(self[tie.of])
        entry = self._entries[name]
        with one_thread():
            return decode_tensor(entry, memoryview(self._coded[entry.key]))

    def deferred(self, name: str) -> DeferredTensor:
        """A tensor of which dtype, shape and ties are known, and whose values are decoded when they are needed."""
        tie = self._ties.get(name)
        entry = self._entries[name if tie is None else tie.of]
        if tie is not None:
            shape, stride, offset = tie.shape, tie.stride, tie.offset
        else:
            shape, offset = entry.shape, 0
            stride = contiguous_strides(shape)
        return DeferredTensor(
            lambda: self[name], entry.torch_dtype, shape, stride, offset, memory=(id(self), entry.name)
        )

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from self._ties

    def __len__(self) -> int:
        return len(self._entries) + len(self._ties)
