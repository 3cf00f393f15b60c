"""Work of a process that may not take much more memory than it has; call it in a process of its own."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from lightning_compress import compress, expand, load
from lightning_compress.archive import Archive, streams
from lightning_compress.errors import CompressionError
from lightning_compress.runtime import limited_workers


def verify_in_little_memory(folder: Path) -> dict[str, tuple[str, float]]:
    """File name → the error that its verification ends in, or "read", and the CPU seconds that it takes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    found = {}
    for path in sorted(folder.iterdir()):
        start = time.process_time()
        try:
            Archive.open(path).verify()
            outcome = "read"
        except CompressionError as error:
            outcome = type(error).__name__
        found[path.name] = (outcome, time.process_time() - start)
    return found


def compress_and_expand_in_little_memory(checkpoint: Path, warm: Path, outs: list[Path], nbytes: int) -> str:
    """Compress a checkpoint to half precision and expand the file, with at most ``nbytes`` more than at the beginning.

    Args:
        checkpoint: of any kind.
        warm: a small checkpoint, to import and compile what both need.
        outs: the compressed file, and what it is expanded to.
        nbytes: of memory, of which coded streams take 1 MiB at most.

    Returns:
        The error of reading the whole file at once.
    """
    small, *expanded = outs
    with limited_workers(1), pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_IN_MEMORY", 1 << 20)
        _compress_and_expand(warm, small, expanded)
        for path in outs:
            path.unlink()
        used = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        limit = (int(used.split()[1]) << 10) + nbytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        _compress_and_expand(checkpoint, small, expanded)
        try:
            load(small)
        except (MemoryError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"
        return "none"


def _compress_and_expand(checkpoint: Path, small: Path, expanded: list[Path]) -> None:
    compress(checkpoint, "half").save(small)
    for path in expanded:
        expand(small, path)
