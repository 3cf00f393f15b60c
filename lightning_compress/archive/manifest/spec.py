"""The manifest of a file as typed records.

docs/format.md is the specification; the modules of the versions convert the records from and to JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from lightning_compress.quantize import DTYPES, PAYLOADS, StreamSpec
from lightning_compress.runtime.cached import cached_property
from lightning_compress.weights import Tie

FORMAT_VERSION = 4
METADATA_KEY = "lightning_compress"
MAX_HEADER_BYTES = 100_000_000
MAX_ELEMENTS = 1 << 48


class Part(NamedTuple):
    """One tensor of the safetensors file: its name, its size in bytes, its shape and its dtype in the header."""

    key: str
    nbytes: int
    shape: tuple[int, ...]
    dtype: str = "U8"


@dataclass(frozen=True)
class StreamRecord:
    """One coded stream: its name within its tensor, its coder and its size in bytes."""

    name: str
    coder: str
    nbytes: int


@dataclass(frozen=True)
class Entry:
    """One stored tensor.

    Attributes:
        name: its name in the state dict.
        shape: its sizes.
        dtype: its torch dtype by name, such as ``float32``.
        class_name: the part of the model it belongs to.
        payload: ``kind`` and the parameters of that kind.
        streams: its coded streams, in the order of the file.
        zeros: how many restored elements are 0.
        coded_crc32: CRC-32 of the coded bytes, hexadecimal.
        crc32: CRC-32 of the restored bytes, hexadecimal.
        reason: why the tensor is kept exactly although a rule selects it; None if nothing but the plan decided.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    class_name: str
    payload: Mapping[str, Any]
    streams: tuple[StreamRecord, ...]
    zeros: int
    coded_crc32: str
    crc32: str
    reason: str | None = None

    @property
    def key(self) -> str:
        """Name of its coded bytes in the header: the tensor name, with ``##`` before it if the name is reserved."""
        reserved = self.name.startswith("#") or self.name == "__metadata__"
        return f"##{self.name}" if reserved else self.name

    @property
    def kind(self) -> str:
        """Kind of the payload."""
        return str(self.payload["kind"])

    @property
    def torch_dtype(self) -> torch.dtype:
        """The torch dtype."""
        return DTYPES[self.dtype]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def raw_bytes(self) -> int:
        """Bytes of the tensor uncompressed."""
        return self.elements * self.torch_dtype.itemsize

    @property
    def coded_bytes(self) -> int:
        """Bytes of the coded streams."""
        return sum(stream.nbytes for stream in self.streams)

    def layout(self) -> dict[str, StreamSpec]:
        """Stream name → its decoded size."""
        return self._layout

    @cached_property
    def _layout(self) -> dict[str, StreamSpec]:
        return PAYLOADS[self.kind].layout(self.payload, self.elements, self.torch_dtype)


@dataclass(frozen=True)
class Asset:
    """One attached file: name, bytes, coded stream, CRC-32 of the coded bytes and of the content (hexadecimal)."""

    name: str
    nbytes: int
    stream: StreamRecord
    coded_crc32: str
    crc32: str

    @property
    def key(self) -> str:
        """Name of its coded bytes in the header."""
        return f"#asset#{self.name}"


@dataclass(frozen=True)
class Manifest:
    """The description of a file's content, as in docs/format.md; ``format_version`` is the version it was read from."""

    entries: tuple[Entry, ...]
    ties: Mapping[str, Tie] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    class_path: str | None = None
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    hyper_parameters_left_out: tuple[str, ...] = ()
    hparams_name: str | None = None
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_left_out: tuple[str, ...] = ()
    plan: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    assets: tuple[Asset, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def raw_bytes(self) -> int:
        """Bytes of the stored tensors uncompressed; tied tensors are counted once."""
        return sum(entry.raw_bytes for entry in self.entries)

    @property
    def tied_bytes(self) -> int:
        """Bytes of the tied tensors if each were copied; a view can be larger than the tensor it is a view of."""
        sizes = {entry.name: entry.torch_dtype.itemsize for entry in self.entries}
        return sum(math.prod(tie.shape) * sizes[tie.of] for tie in self.ties.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tensors that loading returns, tied ones included."""
        return (*(entry.name for entry in self.entries), *self.ties)

    def parts(self) -> tuple[tuple[str, int], ...]:
        """Name and size of the coded bytes of each tensor and each asset, in order."""
        return self._parts

    @cached_property
    def _parts(self) -> tuple[tuple[str, int], ...]:
        of_tensors = ((entry.key, entry.coded_bytes) for entry in self.entries)
        return (*of_tensors, *((asset.key, asset.stream.nbytes) for asset in self.assets))
