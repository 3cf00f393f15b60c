"""The limits of a reader hold when they are measured: memory at the peak, and time."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zstandard
from forge import by_hand
from torch import Tensor

from benchmarks.peak_memory import memory
from lightning_compress import Grid, GroupWise, Half, Interval, KMeans, LowRank, Plan, Prune, Raw, Rule, compress
from lightning_compress.archive import reader
from lightning_compress.archive.limits import MEMORY_BASE, MEMORY_FACTOR, check_limits, work_of
from lightning_compress.errors import FormatError
from lightning_compress.plan import Method
from lightning_compress.quantize import DTYPES

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux reports it")
_NOISE = 24 << 20  # pages of code and of the allocators
_SLOW = 10  # a nanosecond for an operation is for a quiet machine
_KEPT = torch.rand(1 << 20, generator=torch.Generator().manual_seed(1))


def measured(work: Callable[[], object]) -> dict[str, Any]:
    """Memory at the peak and CPU time of a function, in a process of its own."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            before, start = memory("VmHWM"), time.process_time()
            try:
                outcome = str(work() and "read")
            except FormatError as error:
                outcome = type(error).__name__
            result = {"outcome": outcome, "seconds": time.process_time() - start, "memory": memory("VmHWM") - before}
            os.write(send, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    result: dict[str, Any] = json.loads(text)
    return result


def _cases() -> dict[str, tuple[Tensor, tuple[Method, ...]]]:
    """Tensors of a few megabytes, in every payload and form."""
    weights = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0)) / 20
    rows = weights * torch.exp(torch.arange(1024) % 7 - 3.0)[:, None]
    sparse = weights.where(_KEPT.reshape(1024, 1024) < 0.2, 0)
    return {
        "raw": (weights, (Raw(),)),
        "raw integers": ((weights * 1000).to(torch.int64), (Raw(),)),
        "half": (weights, (Half(),)),
        "half with escapes": (weights.where(weights.abs() > 0.01, 1e-42), (Half("float16", "nearest"),)),
        "interval": (weights, (Interval(6, 0.95), Half())),
        "k-means": (weights, (KMeans(15, outliers=0.2), Raw())),
        "scales": (weights, (GroupWise(4, 8), Raw())),
        "one scale": (weights.reshape(1, -1), (GroupWise(4, 1 << 20), Raw())),
        "grid": (weights.half(), (Grid(0.01, trellis=0),)),
        "grid of a trellis": (weights.half(), (Grid(0.01),)),
        "grid of many classes": (rows, (Grid(0.01),)),
        "gaps": (sparse, (Half(),)),
        "pruned": (weights, (Prune(0.9), Half())),
        "factors": (weights, (LowRank(16), KMeans(15), Raw())),
    }


CASES = _cases()


@pytest.mark.parametrize("name", CASES)
def test_restoring_takes_no_more_than_the_manifest_lets_one_expect(name: str) -> None:
    tensor, methods = CASES[name]
    archive = compress({"weight": tensor}, Plan(Rule("*", *methods)))
    (entry,) = archive.manifest.entries
    archive.restore()  # loads the compiled loops, which takes memory once in a process
    work, found = work_of(entry), measured(archive.restore)
    assert found["outcome"] == "read"
    assert found["memory"] <= entry.raw_bytes + work.memory + _NOISE
    assert found["seconds"] <= _SLOW * (work.operations * 1e-9 + 0.05)
    # A file of one tensor is accepted under a limit of exactly the bytes it restores to.
    check_limits(archive.manifest, archive.nbytes, "file", entry.raw_bytes)


ALLOWED = 1 << 23
NOTHING = ("packed", b"\0")  # any number of words 0
NO_OUTLIERS = {"kind": "raw", "count": 0}
ZEROS = {"kind": "indexed", "first": 0.0, "step": 0.0, "levels": 1, "outliers": NO_OUTLIERS}
SCALES = {"unit": 0.0, "width": 1, "row": ALLOWED // 2, "size": 1}


def _zstd(nbytes: int, byte: bytes = b"\0") -> tuple[str, bytes]:
    return "zstd", zstandard.ZstdCompressor(level=3).compress(byte * nbytes)


def _many_contexts() -> Case:
    """A grid whose rows and columns have all classes, so that each of 256 contexts has few words."""
    rows, columns = 1 << 11, 1 << 11
    of_rows, of_columns = np.arange(rows) % 128, np.arange(columns) % 129
    groups = np.bincount((of_rows[:, None] + of_columns[None, :]).reshape(-1), minlength=256)
    payload = {"kind": "grid", "step": 0.5, "trellis": 0, "width": 1, "rows": rows, "classes": ["rows", "columns"]}
    sides = {
        "row_classes": ("stored", of_rows.astype(np.uint8).tobytes()),
        "column_classes": ("stored", of_columns.astype(np.uint8).tobytes()),
    }
    return [rows, columns], "float16", payload | {"groups": groups.tolist()}, sides | {"indices": NOTHING}


Case = tuple[list[int], str, dict[str, Any], dict[str, tuple[str, bytes]]]
N = ALLOWED // 2  # elements of 16 bits
BOMBS: dict[str, Case] = {
    "every element after a gap": (
        [ALLOWED],
        "uint8",
        {"kind": "sparse", "positions": "gaps", "width": 1, "count": ALLOWED, "values": {"kind": "raw"}},
        {"positions": _zstd(ALLOWED), "value_values": _zstd(ALLOWED)},
    ),
    "gaps of eight bytes": (
        [ALLOWED],
        "uint8",
        {"kind": "sparse", "positions": "gaps", "width": 8, "count": ALLOWED, "values": {"kind": "raw"}},
        {"positions": _zstd(8 * ALLOWED), "value_values": _zstd(ALLOWED)},
    ),
    "a bitmap of ones": (
        [ALLOWED],
        "uint8",
        {"kind": "sparse", "positions": "bitmap", "width": 1, "count": ALLOWED, "values": {"kind": "raw"}},
        {"positions": _zstd(ALLOWED // 8, b"\xff"), "value_values": _zstd(ALLOWED)},
    ),
    "factors of rank 1000": (
        [2048, N // 2048],
        "float16",
        {"kind": "factored", "rows": 2048, "rank": 1000, "left": ZEROS, "right": ZEROS},
        {"left_indices": NOTHING, "right_indices": NOTHING},
    ),
    "a scale for each element of one row": (
        [N],
        "float16",
        {"kind": "codebook", "levels": 1, "outliers": NO_OUTLIERS, "scales": SCALES},
        {"indices": NOTHING, "codebook": ("stored", bytes(2)), "scales": NOTHING},
    ),
    "escapes everywhere": (
        [N // 2],
        "float32",
        {"kind": "half", "format": "bfloat16", "escapes": N // 2},
        {"values": NOTHING, "escape_gaps": NOTHING, "escape_values": NOTHING},
    ),
    "a trellis of long rows": (
        [256, N // 256],
        "float16",
        {"kind": "grid", "step": 0.5, "trellis": 128, "width": 1, "groups": [N, 0]},
        {"indices": NOTHING},
    ),
    "many contexts": _many_contexts(),
    "rows without elements": ([1 << 40, 0], "float32", {"kind": "grid", "step": 0.5, "trellis": 0, "width": 1}, {}),
    "outliers everywhere": (
        [N // 2],
        "float32",
        {"kind": "indexed", "first": 0.0, "step": 0.0, "levels": 0, "outliers": {"kind": "raw", "count": N // 2}},
        {"indices": _zstd(N // 2, b"\1"), "outlier_values": NOTHING},
    ),
    "planes of wide words": ([N // 4], "int64", {"kind": "raw"}, {"values": ("planes", b"\1" + bytes([1, 1, 0]) * 8)}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_in_an_error_or_within_the_limits(name: str) -> None:
    shape, dtype, payload, streams = BOMBS[name]
    elements = math.prod(shape)
    restored = f"{zlib.crc32(bytes(elements * DTYPES[dtype].itemsize)):08x}"
    data = by_hand(shape, dtype, payload, streams, restored, zeros=elements)
    found = measured(lambda: parse_and_verify(data))
    assert found["memory"] <= MEMORY_FACTOR * ALLOWED + MEMORY_BASE
    assert found["seconds"] <= _SLOW * (6 * ALLOWED + (1 << 28) + (len(data) << 15)) * 1e-9


def parse_and_verify(data: bytes) -> bool:
    manifest, coded = reader.parse(memoryview(data), "file", ALLOWED)
    reader.verify(manifest, coded)
    return True


def test_what_takes_too_much_is_refused_before_anything_is_decoded() -> None:
    """The test above would pass without a check, too, if nothing took more than a reader allows."""
    gaps = {"kind": "sparse", "positions": "gaps", "width": 8, "count": 1 << 28, "values": {"kind": "raw"}}
    streams = {"positions": NOTHING, "value_values": NOTHING}
    cases = {name: (ALLOWED, *BOMBS[name]) for name in ("factors of rank 1000", "a trellis of long rows")}
    cases["gaps of eight bytes"] = (1 << 28, [1 << 28], "uint8", gaps, streams)
    messages = {}
    for name, (allowed, shape, dtype, payload, codes) in cases.items():
        data = by_hand(shape, dtype, payload, codes, "00000000", zeros=math.prod(shape))
        with pytest.raises(
            FormatError, match=r"would take \d+ (operations|bytes of memory), more than the limit"
        ) as caught:
            reader.parse(memoryview(data), "file", allowed)
        messages[name] = "memory" if "memory" in str(caught.value) else "operations"
    assert messages == dict.fromkeys(cases, "operations") | {"gaps of eight bytes": "memory"}
