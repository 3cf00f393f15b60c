"""What a file may take to be restored: memory and time, from its manifest alone (docs/format.md, "Limits")."""

from __future__ import annotations

from itertools import accumulate

from lightning_compress.archive.manifest.spec import Asset, Entry, Manifest
from lightning_compress.coding import CODERS
from lightning_compress.errors import FormatError
from lightning_compress.quantize import PAYLOADS
from lightning_compress.runtime import Work, worker_count

_LEAST_BYTES = 1 << 30
_EXPANSION = 2000
MEMORY_FACTOR = 8
MEMORY_BASE = 1 << 26
_LEAST_OPERATIONS = 1 << 28
_OPERATIONS_PER_BYTE = 1 << 15
_OPERATIONS_PER_ALLOWED_BYTE = 6
_BYTES_PER_WORKER = 1 << 21  # restored; less takes no longer than starting a thread pays for


def check_limits(manifest: Manifest, file_bytes: int, source: str, max_bytes: int | None) -> None:
    """Check what restoring takes, before anything is allocated for it.

    Args:
        manifest: of the file.
        file_bytes: size of the file.
        source: name of the file, for messages.
        max_bytes: how many bytes tensors and assets may restore to; by default 1 GiB or 2000 times the file, whichever
            is larger. Memory at the peak is limited to 8 times that and 64 MiB. Operations are limited to 2²⁸, 6 for
            each of these bytes, and 2¹⁵ for each byte of the file.

    Raises:
        FormatError: a limit is exceeded.
    """
    limit = max(_LEAST_BYTES, _EXPANSION * file_bytes) if max_bytes is None else max_bytes
    restored = manifest.raw_bytes + manifest.tied_bytes + sum(asset.nbytes for asset in manifest.assets)
    _check(source, file_bytes, "restore to", restored, "bytes", limit)
    parts = [*map(work_of, manifest.entries), *map(_of_asset, manifest.assets)]
    peak = restored + max((part.memory for part in parts), default=0)
    _check(source, file_bytes, "take", peak, "bytes of memory", MEMORY_FACTOR * limit + MEMORY_BASE)
    operations = _LEAST_OPERATIONS + _OPERATIONS_PER_BYTE * file_bytes + _OPERATIONS_PER_ALLOWED_BYTE * limit
    _check(source, file_bytes, "take", sum(part.operations for part in parts), "operations", operations)


def workers_within(manifest: Manifest) -> int:
    """How many threads may restore tensors: as many as are wanted, and as fit into the limit of memory.

    With several, the memory at the peak is that of the largest tensors together. A small file needs one thread.
    """
    wanted = min(worker_count(), manifest.raw_bytes // _BYTES_PER_WORKER)
    if wanted <= 1:
        return 1
    largest = sorted((work_of(entry).memory for entry in manifest.entries), reverse=True)
    memory = MEMORY_FACTOR * manifest.raw_bytes + MEMORY_BASE - manifest.raw_bytes
    fitting = sum(total <= memory for total in accumulate(largest))
    return max(1, min(wanted, fitting))


def _check(source: str, file_bytes: int, verb: str, amount: int, unit: str, limit: int) -> None:
    if amount > limit:
        raise FormatError(
            f"{source} ({file_bytes} bytes) would {verb} {amount} {unit}, more than the limit of {limit}. "
            "If you trust it, open it with a larger max_bytes."
        )


def work_of(entry: Entry) -> Work:
    """What one tensor takes: decoded words, and the larger of what decoding and restoring take beside them."""
    specs = entry.layout()
    streams = ((CODERS[stream.coder], specs[stream.name]) for stream in entry.streams)
    decoding = [coder.work(spec.count, spec.width, spec.groups) for coder, spec in streams]
    restoring = PAYLOADS[entry.kind].work(entry.payload, entry.shape, entry.torch_dtype)
    words = sum(spec.count * spec.width for spec in specs.values())
    memory = max([restoring.memory, *(work.memory for work in decoding)])
    return Work(words + memory, restoring.operations + sum(work.operations for work in decoding))


def _of_asset(asset: Asset) -> Work:
    return CODERS[asset.stream.coder].work(asset.nbytes, 1) + Work(asset.nbytes, asset.nbytes)
