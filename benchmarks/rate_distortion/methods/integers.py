"""Weight-only int8 and int4 as torchao stores them, written to files; each also under Zstandard at level 19.

int8 is symmetric with a scale for each row. int4 is asymmetric with a scale and a floating-point zero for each group of
weights along a row (what ``Int4WeightOnlyConfig`` makes): q = round((w − minimum) / scale), two of them to a byte, and
w ≈ (q − 8) · scale + zero. Scales, zeros and the tensors of fewer than two dimensions are bfloat16. To these methods'
advantage, embeddings are quantized too, which torchao leaves alone unless it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import safetensors
import torch
import zstandard
from safetensors.torch import save
from torch import Tensor

from benchmarks.rate_distortion.methods.method import Candidate, Method
from benchmarks.rate_distortion.source import Source

GROUPS = (256, 128, 64, 32)
_EPSILON = 1e-6


def int8_rows(weight: Tensor) -> dict[str, Tensor]:
    """``weight [rows, columns]`` → ``values`` int8 ``[rows, columns]`` and ``scale`` bfloat16 ``[rows, 1]``."""
    scale = (weight.abs().amax(1, keepdim=True) / 127.5).clamp_min(_EPSILON).to(torch.bfloat16)
    return {"values": (weight / scale.float()).round().clamp(-128, 127).to(torch.int8), "scale": scale}


def from_int8_rows(parts: dict[str, Tensor]) -> Tensor:
    """What :func:`int8_rows` made, as float32 ``[rows, columns]``."""
    return parts["values"].float() * parts["scale"].float()


def group_size(columns: int, largest: int) -> int:
    """The largest of torchao's group sizes up to ``largest`` that divides a row, or the whole row where none does."""
    return next((size for size in GROUPS if size <= largest and columns % size == 0), columns)


def int4_groups(weight: Tensor, size: int) -> dict[str, Tensor]:
    """``weight [rows, columns]`` → ``values`` uint8, two weights each; ``scale``, ``zero`` bfloat16 ``[groups, 1]``."""
    groups = weight.reshape(-1, size)
    least, most = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    scale = ((most - least) / 15).clamp_min(_EPSILON).to(torch.bfloat16)
    zero = (least + 8 * scale.float()).to(torch.bfloat16)
    shifted = (groups - zero.float()) / scale.float() + 8
    nibbles = shifted.round().clamp(0, 15).to(torch.uint8).flatten()
    if nibbles.numel() % 2:
        nibbles = torch.cat([nibbles, nibbles.new_zeros(1)])
    return {"values": nibbles[::2] << 4 | nibbles[1::2], "scale": scale, "zero": zero}


def from_int4_groups(parts: dict[str, Tensor], rows: int, columns: int) -> Tensor:
    """What :func:`int4_groups` made, as float32 ``[rows, columns]``."""
    nibbles = torch.stack([parts["values"] >> 4, parts["values"] & 15], 1).flatten()[: rows * columns]
    groups = nibbles.reshape(len(parts["scale"]), -1).float()
    return ((groups - 8) * parts["scale"].float() + parts["zero"].float()).reshape(rows, columns)


def write(path: Path, state: dict[str, Tensor], group: int | None, compressed: bool) -> None:
    """Write a file: int4 in groups of up to ``group`` weights, or int8 by rows where ``group`` is None."""
    tensors: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in state.items():
        if tensor.dim() < 2:
            tensors[name] = tensor.to(torch.bfloat16)
            continue
        matrix = tensor.flatten(1)
        parts = int8_rows(matrix) if group is None else int4_groups(matrix, group_size(matrix.shape[1], group))
        tensors |= {f"{name}#{part}": values.contiguous() for part, values in parts.items()}
        shapes[name] = list(tensor.shape)
    data = save(tensors, {"shapes": json.dumps(shapes, separators=(",", ":"))})
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(data) if compressed else data)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that :func:`write` made."""
    data = path.read_bytes()
    if data.startswith(zstandard.FRAME_HEADER):
        data = zstandard.ZstdDecompressor().decompress(data)
    tensors = safetensors.torch.load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    state = {name: tensor.float() for name, tensor in tensors.items() if "#" not in name}
    for name, shape in json.loads(header["__metadata__"]["shapes"]).items():
        parts = {part: tensors[f"{name}#{part}"] for part in ("values", "scale", "zero") if f"{name}#{part}" in tensors}
        rows, columns = shape[0], torch.Size(shape[1:]).numel()
        matrix = from_int4_groups(parts, rows, columns) if "zero" in parts else from_int8_rows(parts)
        state[name] = matrix.reshape(shape)
    return state


def int8(source: Source) -> Iterable[Candidate]:
    """Scales by row, plain and under Zstandard."""
    for label, compressed in (("rows", False), ("rows, zstd", True)):
        yield Candidate(label, partial(write, state=source.state, group=None, compressed=compressed), read)


def int4(source: Source) -> Iterable[Candidate]:
    """Groups of 128, 64 and 32 weights, plain and under Zstandard."""
    for group in (128, 64, 32):
        for label, compressed in ((f"groups of {group}", False), (f"groups of {group}, zstd", True)):
            yield Candidate(label, partial(write, state=source.state, group=group, compressed=compressed), read)


INT8 = Method("int8", int8, (Path(__file__),))
INT4 = Method("int4", int4, (Path(__file__),))
