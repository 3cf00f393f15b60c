"""The command ``diff``: what two files hold differently."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from lightning_compress.archive import Archive, is_archive
from lightning_compress.cli.options import Json
from lightning_compress.cli.output import print_result, print_table, printable, progress
from lightning_compress.compression import read_weights
from lightning_compress.weights import as_bytes

_CHUNK = 1 << 22  # elements that are compared at once

First = Annotated[Path, typer.Argument(help="A compressed file, or a checkpoint.", show_default=False, metavar="A")]
Second = Annotated[Path, typer.Argument(help="What A is compared with.", show_default=False, metavar="B")]


def diff(one: First, other: Second, as_json: Json = False) -> None:
    """List the tensors that differ between two files, compressed or not, with their bytes and the size of the error."""
    (tensors, sizes), (others, other_sizes) = _content(one), _content(other)
    with progress("comparing", len(tensors), as_json) as advance:
        rows, same = [], 0
        for row in _differences(tensors, others):
            advance(1)
            if row["what"] == "same":
                same += 1
            else:
                rows.append(row | {"bytes": [sizes.get(row["tensor"]), other_sizes.get(row["tensor"])]})
    result = {
        "files": [str(one), str(other)],
        "bytes": [_nbytes(one), _nbytes(other)],
        "same": same,
        "differ": len(rows),
        "rows": rows,
    }
    if rows and not as_json:
        titles = ("tensor", "what", "bytes of A", "bytes of B", "largest error", "relative error")
        print_table(titles, [_cells(row) for row in rows], left=2)
    files = f"{printable(str(one))} and {printable(str(other))}"
    print_result(result, as_json, f"{files}: {len(rows)} tensors differ, {same} are the same")


def _content(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, int]]:
    """Name → tensor, read when it is needed; name → coded bytes, of a compressed file."""
    if not is_archive(path):
        weights = read_weights(path)
        return weights.state_dict(), {weight.name: weight.tensor.nbytes for weight in weights}
    archive = Archive.open(path, deferred=True)
    sizes = {entry.name: entry.coded_bytes for entry in archive.manifest.entries}
    return {name: archive.tensors.deferred(name) for name in archive.manifest.names}, sizes


def _nbytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _differences(tensors: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> Iterator[dict[str, Any]]:
    for name, tensor in tensors.items():
        row: dict[str, Any] = {"tensor": name, "largest_error": None, "relative_error": None}
        if name not in others:
            yield row | {"what": "only in A"}
            continue
        other = others[name]
        if tensor.shape != other.shape:
            yield row | {"what": f"shape {_shape(tensor)} and {_shape(other)}"}
            continue
        one, two = tensor.detach(), other.detach()
        if one.dtype == two.dtype and torch.equal(as_bytes(one), as_bytes(two)):
            yield row | {"what": "same"}
            continue
        largest, relative = _errors(one, two)
        what = "values" if one.dtype == two.dtype else f"{one.dtype} and {two.dtype}".replace("torch.", "")
        yield row | {"what": what, "largest_error": largest, "relative_error": relative}
    for name in others:
        if name not in tensors:
            yield {"tensor": name, "what": "only in B", "largest_error": None, "relative_error": None}


def _errors(one: Tensor, other: Tensor) -> tuple[float | None, float | None]:
    """The largest |a − b|, and ‖a − b‖ / ‖a‖; None where they are no finite numbers."""
    largest = squares = size = 0.0
    for first, second in zip(*(torch.split(tensor.flatten(), _CHUNK) for tensor in (one, other)), strict=True):
        a, b = (part.to(torch.complex128 if part.is_complex() else torch.float64) for part in (first, second))
        difference = (a - b).abs()
        largest = max(largest, float(difference.max())) if difference.isfinite().all() else math.nan
        squares += float(difference.square().sum())
        size += float(a.abs().square().sum())
    relative = math.sqrt(squares / size) if size else (math.inf if squares else 0.0)
    return (largest if math.isfinite(largest) else None), (relative if math.isfinite(relative) else None)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _cells(row: Mapping[str, Any]) -> list[str]:
    sizes = ("–" if size is None else f"{size:,}" for size in row["bytes"])
    errors = (row[key] for key in ("largest_error", "relative_error"))
    return [row["tensor"], row["what"], *sizes, *("–" if error is None else f"{error:.3g}" for error in errors)]
