"""A report of the sizes in a file: by tensor, by class and in total."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_compress.archive.manifest.spec import Entry, Manifest


@dataclass(frozen=True)
class TensorReport:
    """One stored tensor: sizes in bytes, and the share of its elements that are 0 (0 to 1)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    class_name: str
    payload: str
    coders: tuple[str, ...]
    weights: int
    raw_bytes: int
    bytes: int
    sparsity: float
    aliases: tuple[str, ...]

    @property
    def bits_per_weight(self) -> float:
        """Coded bits per weight; 0 for an empty tensor."""
        return 8 * self.bytes / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class _GroupReport:
    """Several stored tensors together: sizes in bytes, and the share of their elements that are 0 (0 to 1)."""

    tensors: int
    weights: int
    raw_bytes: int
    bytes: int
    sparsity: float

    @property
    def bits_per_weight(self) -> float:
        """Coded bits per weight; 0 for a group without weights."""
        return 8 * self.bytes / self.weights if self.weights else 0.0


@dataclass(frozen=True, kw_only=True)
class ClassReport(_GroupReport):
    """All stored tensors of one class together."""

    class_name: str


@dataclass(frozen=True, kw_only=True)
class ModuleReport(_GroupReport):
    """All stored tensors of one module and its submodules together; the path of the whole model is empty."""

    module: str


@dataclass(frozen=True)
class Report:
    """Sizes of a whole file.

    Attributes:
        rows: one row per stored tensor, in file order.
        file_bytes: bytes of the file, header and assets included.
        asset_bytes: bytes of the coded assets.
    """

    rows: tuple[TensorReport, ...]
    file_bytes: int
    asset_bytes: int

    @property
    def weights(self) -> int:
        """Stored elements; tied ones counted once."""
        return sum(row.weights for row in self.rows)

    @property
    def raw_bytes(self) -> int:
        """Bytes of the tensors uncompressed; tied ones counted once."""
        return sum(row.raw_bytes for row in self.rows)

    @property
    def ratio(self) -> float:
        """Compression ratio: uncompressed tensor bytes divided by bytes of the file."""
        return self.raw_bytes / self.file_bytes

    @property
    def bits_per_weight(self) -> float:
        """Bits of the file per weight; 0 for a file without weights."""
        return 8 * self.file_bytes / self.weights if self.weights else 0.0

    @property
    def sparsity(self) -> float:
        """Share of the elements that are 0, from 0 to 1."""
        return _sparsity(self.rows)

    def by_class(self) -> tuple[ClassReport, ...]:
        """One row per class, in order of appearance."""
        return tuple(
            ClassReport(class_name=name, **totals) for name, totals in self._grouped(lambda row: row.class_name)
        )

    def by_module(self, depth: int | None = None) -> tuple[ModuleReport, ...]:
        """One row per module, in order of appearance.

        Args:
            depth: how many parts a path has at most: 1 for the submodules of the model itself. By default each tensor
                counts for the module that holds it.
        """
        modules = self._grouped(lambda row: ".".join(row.name.split(".")[:-1][:depth]))
        return tuple(ModuleReport(module=path, **totals) for path, totals in modules)

    def _grouped(self, key: Callable[[TensorReport], str]) -> Iterator[tuple[str, dict[str, Any]]]:
        groups: dict[str, list[TensorReport]] = {}
        for row in self.rows:
            groups.setdefault(key(row), []).append(row)
        for name, rows in groups.items():
            yield (
                name,
                {
                    "tensors": len(rows),
                    "weights": sum(row.weights for row in rows),
                    "raw_bytes": sum(row.raw_bytes for row in rows),
                    "bytes": sum(row.bytes for row in rows),
                    "sparsity": _sparsity(rows),
                },
            )


def report(manifest: Manifest, file_bytes: int) -> Report:
    """The report of a file of known size."""
    aliases: dict[str, list[str]] = {}
    for alias, tie in manifest.ties.items():
        aliases.setdefault(tie.of, []).append(alias)
    return Report(
        rows=tuple(_row(entry, tuple(aliases.get(entry.name, ()))) for entry in manifest.entries),
        file_bytes=file_bytes,
        asset_bytes=sum(asset.stream.nbytes for asset in manifest.assets),
    )


def _row(entry: Entry, aliases: tuple[str, ...]) -> TensorReport:
    return TensorReport(
        name=entry.name,
        shape=entry.shape,
        dtype=entry.dtype,
        class_name=entry.class_name,
        payload=entry.kind,
        coders=tuple(stream.coder for stream in entry.streams),
        weights=entry.elements,
        raw_bytes=entry.raw_bytes,
        bytes=entry.coded_bytes,
        sparsity=entry.zeros / entry.elements if entry.elements else 0.0,
        aliases=aliases,
    )


def _sparsity(rows: Sequence[TensorReport]) -> float:
    weights = sum(row.weights for row in rows)
    return sum(row.sparsity * row.weights for row in rows) / weights if weights else 0.0
